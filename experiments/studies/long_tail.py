"""Long-tailed classification: bonuses, decoupled classifiers, deferred re-weighting (Table 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import TensorDataset, WeightedRandomSampler

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import SHOTS, shot_accuracy
from experiments.studies.data import Images, digits, load
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import DEFERRED, Loss, apply, classifier, retrain_head

TESTED = 30  # digits of each class, on average
MOST, FEWEST = 140, 3  # digits of the commonest and the rarest class in training
OVERALL = "overall"


@dataclass(frozen=True)
class System:
    """A loss, and what is done about the imbalance beside it."""

    loss: Loss
    decoupled: bool = False  # a new classifier on the features, trained with balanced classes
    reweighted: bool = False  # class-balanced weights at the end of training


def long_tailed(settings: Settings, seed: int) -> Images:
    """The images of ``settings``; of digits, a part whose rarest class has :data:`FEWEST`."""
    if settings.data != "digits":
        return load(settings, seed)
    images, labels = digits()
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=10 * TESTED, stratify=labels, random_state=seed
    )
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for place, label in enumerate(torch.randperm(10, generator=generator)):
        count = round(MOST * (FEWEST / MOST) ** (place / 9))
        kept.append((train_labels == label).nonzero().squeeze(1)[:count])
    chosen = torch.cat(kept)
    parts = TensorDataset(train[chosen], train_labels[chosen]), TensorDataset(test, test_labels)
    return Images(*parts, train_labels[chosen], 10, 1)


def run(settings: Settings, system: System, seed: int) -> Mapping[str, Any]:
    """Train; accuracy over all classes, and those with many, a medium number and few samples."""
    images = long_tailed(settings, seed)
    counts = images.labels.bincount(minlength=images.classes)
    deferred = weighted(system.loss, counts) if system.reweighted else None
    model = classifier(settings, images, seed, system.loss, deferred=deferred)
    if system.decoupled:
        balanced = WeightedRandomSampler((1 / counts.double())[images.labels].tolist(), len(images.labels))
        retrain_head(model, images.train, settings, sampler=balanced)
    logits, target = apply(model, images.test, settings)
    return shot_accuracy(logits.argmax(dim=1), target, counts)


def weighted(loss: Loss, counts: Tensor) -> Loss:
    """``loss`` with class weights 1 / count, on average 1: deferred re-weighting's with beta near 1."""
    weight = 1 / counts.float()
    weight = weight / weight.mean()
    if isinstance(loss, EncouragingLoss):
        return EncouragingLoss(weight, **loss.bonus.arguments())
    return nn.CrossEntropyLoss(weight)


CE, NORMAL = nn.CrossEntropyLoss(), EncouragingLoss(log_end=1.0)
STUDY = Study(
    title="Long-tailed classification",
    paper="Table 3 of the paper (iNaturalist 2018)",
    systems={
        "CE": System(CE),
        "EL 0.5": System(EncouragingLoss(log_end=0.5)),
        "EL 1": System(NORMAL),
        "EL aggressive": System(EncouragingLoss(bonus="aggressive")),
        "cRT CE": System(CE, decoupled=True),
        "cRT EL 1": System(NORMAL, decoupled=True),
        "DRW CE": System(CE, reweighted=True),
        "DRW EL 1": System(NORMAL, reweighted=True),
    },
    run=run,
    measures=dict.fromkeys((OVERALL, *SHOTS), "{:.1f}"),
    claims=[
        Claim("EL 0.5", "CE", OVERALL, "64.3 to 65.3"),
        Claim("EL 1", "CE", OVERALL, "64.3 to 65.8"),
        Claim("EL aggressive", "CE", OVERALL, "64.3 to 66.3"),
        Claim("EL aggressive", "CE", "few", "59.8 to 62.6"),
        Claim("cRT EL 1", "cRT CE", OVERALL, "64.9 to 66.8"),
        Claim("DRW EL 1", "DRW CE", OVERALL, "68.1 to 70.3"),
    ],
    note=f"Re-weighting (DRW) begins after {DEFERRED:.0%} of the steps.",
    note_at_hand=f"The classes have from {MOST} down to {FEWEST} training samples, another order with every "
    f"seed; about {TESTED} of each class are tested.",
)
