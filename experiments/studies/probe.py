"""Quality of the features: a new classifier on them, trained with cross-entropy (section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from el_plugins.losses import EncouragingLoss
from experiments.studies.data import load
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import Loss, accuracy, apply, classifier, retrain_head

WHOLE, PROBE = "as trained", "new classifier"


def run(settings: Settings, loss: Loss, seed: int) -> Mapping[str, Any]:
    """Train with ``loss``, then a new head with cross-entropy on the frozen body; accuracy of both."""
    images = load(settings, seed)
    model = classifier(settings, images, seed, loss)
    whole = accuracy(*apply(model, images.test, settings))
    retrain_head(model, images.train, settings)
    return {WHOLE: whole, PROBE: accuracy(*apply(model, images.test, settings))}


STUDY = Study(
    title="Representations: a new classifier on frozen features",
    paper="Section 4.3 of the paper (CIFAR-10)",
    systems={"CE": nn.CrossEntropyLoss(), "EL 1": EncouragingLoss(log_end=1.0)},
    run=run,
    measures={WHOLE: "{:.2f}", PROBE: "{:.2f}"},
    claims=[Claim("EL 1", "CE", PROBE, "91.69 to 92.98")],
    note="The new classifier is trained as the model was; the paper's for 20 epochs, with its own schedule.",
)
