"""Large-margin softmax with cross-entropy and with encouraging loss (appendix C.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate.utils import set_seed
from pytorch_metric_learning.losses import LargeMarginSoftmaxLoss
from torch import Tensor, nn

from el_plugins.losses import EncouragingLoss
from experiments.studies.data import load
from experiments.studies.models import BODIES, Classifier
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import Loss, accuracy, apply, fit

ACCURACY = "accuracy"


class MarginClassifier(Classifier):
    """A :class:`Classifier` whose linear layer belongs to pytorch-metric-learning's loss."""

    def __init__(self, settings: Settings, images: Any, loss: nn.Module):
        super().__init__(settings, images)
        if settings.model in BODIES:
            # A last ReLU would leave no angle above 90 degrees, and classes that no feature reaches.
            self.body: Any = self.body[:-1]
        margin = LargeMarginSoftmaxLoss(images.classes, self.head.in_features, margin=2, scale=1)
        margin.cross_entropy = loss
        self.head: Any = margin

    def forward(self, images: Tensor) -> Tensor:
        """Features in training, which the loss takes; logits without a margin otherwise."""
        features = self.features(images)
        return features if self.training else self.head.get_logits(features)


def run(settings: Settings, loss: Loss | None, seed: int) -> Mapping[str, Any]:
    """Train with a margin and ``loss``, or without a margin; accuracy."""
    images = load(settings, seed)
    set_seed(seed)
    if loss is None:
        model: nn.Module = Classifier(settings, images)
        fit(model, images.train, nn.CrossEntropyLoss(), settings)
    else:
        model = MarginClassifier(settings, images, loss)  # type: ignore[arg-type]
        fit(model, images.train, model.head, settings)
    return {ACCURACY: accuracy(*apply(model, images.test, settings))}


STUDY = Study(
    title="Large-margin softmax",
    paper="Appendix C.1 of the paper (MNIST)",
    systems={
        "CE": None,
        "large margin CE": nn.CrossEntropyLoss(reduction="none"),
        "large margin EL 1": EncouragingLoss(reduction="none", log_end=1.0),
    },
    run=run,
    measures={ACCURACY: "{:.2f}"},
    claims=[Claim("large margin EL 1", "large margin CE", ACCURACY, "99.62 to 99.64")],
    note="Margin 2.",
)
