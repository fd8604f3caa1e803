"""Long-tailed classification: bonuses, decoupled classifiers, deferred re-weighting (Table 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset, WeightedRandomSampler

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import SHOTS, require_finite, shot_accuracy
from experiments.studies.data import Images, digits, load
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import Loss, apply, classifier, retrain_head

TESTED = 30  # digits of each class, on average
MOST, FEWEST = 140, 3  # digits of the commonest and the rarest class in training
EPOCHS = 60  # after 15 of so few images the normal bonus has not learned the rare classes
OVERALL = "overall"


@dataclass(frozen=True)
class System:
    """A loss, and what is done about the imbalance beside it."""

    loss: Loss
    decoupled: bool = False  # a new classifier on the features, trained with balanced classes
    reweighted: Loss | None = None  # with class-balanced weights after settings.deferred of the training


def long_tailed(settings: Settings, seed: int) -> Images:
    """The images of ``settings``, of each class as many as ``tail`` leaves.

    Of digits, another order of the classes with every seed, and :data:`MOST` down to :data:`FEWEST` images.
    """
    generator = torch.Generator().manual_seed(seed)
    if settings.data != "digits":
        whole = load(settings, seed)
        if settings.tail == 1:
            return whole
        most = int(whole.labels.bincount().min())  # the least that every class has
        chosen = exponential(whole.labels, range(whole.classes), most, settings.tail, generator)
        part = Subset(whole.train, chosen.tolist())
        return Images(part, whole.test, whole.labels[chosen], whole.classes, whole.channels)
    images, labels = digits()
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=10 * TESTED, stratify=labels, random_state=seed
    )
    order = torch.randperm(10, generator=generator).tolist()
    chosen = exponential(train_labels, order, MOST, MOST / FEWEST, generator)
    parts = TensorDataset(train[chosen], train_labels[chosen]), TensorDataset(test, test_labels)
    return Images(*parts, train_labels[chosen], 10, 1)


def exponential(
    labels: Tensor, order: Sequence[int], most: int, ratio: float, generator: torch.Generator
) -> Tensor:
    """Places of a random part of the images in which class ``order[i]`` has most * ratio^(-i / (C - 1)).

    Args:
        labels: (N,) int64.
        order: the C classes, the commonest first.
        most, ratio: images of the commonest class, and so many times the rarest one's.
    """
    chosen = []
    for place, label in enumerate(order):
        places = (labels == label).nonzero().squeeze(1)
        count = round(most * ratio ** (-place / (len(order) - 1)))
        chosen.append(places[torch.randperm(len(places), generator=generator)[:count]])
    return torch.cat(chosen)


def run(settings: Settings, system: System, seed: int) -> Mapping[str, Any]:
    """Train; accuracy over all classes, and those with many, a medium number and few samples."""
    images = long_tailed(settings, seed)
    counts = images.labels.bincount(minlength=images.classes)
    deferred = None if system.reweighted is None else weighted(system.reweighted, counts)
    model = classifier(settings, images, seed, system.loss, deferred=deferred)
    if system.decoupled:
        balanced = WeightedRandomSampler((1 / counts.double())[images.labels].tolist(), len(images.labels))
        retrain_head(model, images.train, settings, sampler=balanced)
    logits, target = apply(model, images.test, settings)
    require_finite(logits=logits)
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
        "DRW CE": System(CE, reweighted=CE),
        "DRW EL 1": System(CE, reweighted=NORMAL),
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
    defaults={"epochs": EPOCHS},
    note="Re-weighting (DRW) begins after the share of the steps that `deferred` says. As in the authors' "
    "script the bonus comes with it. Theirs is divided by the number of images, ours by the sum of their "
    "weights, as cross-entropy is: with a tail of ratio 100 it is six times theirs or more.",
    note_at_hand=f"The classes have from {MOST} down to {FEWEST} training samples, another order with every "
    f"seed; about {TESTED} of each class are tested.",
)
