"""Detecting out-of-distribution examples by energy (section 4.4, Table 4, Figure 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import ood_metrics, ood_scores
from experiments.studies.data import Images, dataset, digits, load, photograph_patches
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import Loss, apply, classifier

KNOWN = 7  # digits 0 to 6 are trained on, 7 to 9 are foreign
INDICATORS = ("minimum_energy", "maximum_probability", "free_energy")
METRICS = {"auroc": "AUROC", "fpr95": "FPR95"}


def inside_and_outside(settings: Settings, seed: int) -> tuple[Images, dict[str, Dataset]]:
    """The images to train on, and foreign ones by name.

    Raises:
        ValueError: no foreign data set is named, and the images are not digits, which have their own.
    """
    images = load(settings, seed)
    if settings.data == "digits" and not settings.ood:
        pixels, labels = digits()
        parts = TensorDataset(*(t[labels >= KNOWN] for t in (pixels, labels)))
        test = TensorDataset(*known(images.test.tensors))  # type: ignore[attr-defined]
        train = TensorDataset(*known(images.train.tensors))  # type: ignore[attr-defined]
        foreign = {"digits 7-9": parts, "photographs": photograph_patches(600)}
        return Images(train, test, train.tensors[1], KNOWN, 1), foreign
    if not settings.ood:
        raise ValueError(f"ood must name one or more foreign data sets for data={settings.data}, got none")
    return images, {name: dataset(name, settings) for name in settings.ood}


def known(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Images and labels of the classes that are trained on."""
    return tuple(t[tensors[1] < KNOWN] for t in tensors)


def run(settings: Settings, loss: Loss, seed: int) -> Mapping[str, Any]:
    """Train with ``loss``; AUROC and FPR95 of every indicator, mean over the foreign sets, and of each."""
    images, foreign = inside_and_outside(settings, seed)
    model = classifier(settings, images, seed, loss)
    inside = ood_scores(apply(model, images.test, settings)[0])
    measures = {}
    for name, data in foreign.items():
        outside = ood_scores(apply(model, data, settings)[0])
        for indicator in INDICATORS:
            for metric, value in ood_metrics(inside[indicator], outside[indicator]).items():
                measures[f"{METRICS[metric]}, {indicator}, {name}"] = value
    for metric in METRICS.values():
        for indicator in INDICATORS:
            values = [value for key, value in measures.items() if key.startswith(f"{metric}, {indicator},")]
            measures[f"{metric}, {indicator}"] = sum(values) / len(values)
    return measures


STUDY = Study(
    title="Out-of-distribution detection",
    paper="Section 4.4, Table 4 and Figure 11 of the paper (MNIST against Fashion-MNIST, ImageNet against "
    "iNaturalist)",
    systems={
        "CE": nn.CrossEntropyLoss(),
        "EL 0.75": EncouragingLoss(log_end=0.75),
        "EL 1": EncouragingLoss(log_end=1.0),
    },
    run=run,
    measures={f"{metric}, {indicator}": "{:.2f}" for metric in METRICS.values() for indicator in INDICATORS},
    claims=[
        Claim("EL 1", "CE", "AUROC, minimum_energy", "95.68 to 98.04 (MNIST)"),
        Claim("EL 1", "CE", "FPR95, minimum_energy", "20.92 to 8.69 (MNIST)", lower=True),
        Claim("EL 0.75", "CE", "AUROC, minimum_energy", "76.54 to 78.41 (ImageNet)"),
        Claim("EL 0.75", "CE", "FPR95, minimum_energy", "75.40 to 71.86 (ImageNet)", lower=True),
    ],
    note_at_hand="Digits 0 to 6 against digits 7 to 9 and against patches of photographs; means of the two.",
)
