"""Calibration, energies and accuracy, with and without label smoothing (Tables 8 and 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import require_finite
from experiments.studies.data import load
from experiments.studies.energy import AROUND, NOTE, ON, energies
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import Loss, accuracy, apply, classifier

ECE = "ECE (%)"
BINS = 10
SMOOTHING = 0.1


def calibration_error(logits: Tensor, target: Tensor) -> float:
    """Expected calibration error in per cent, in :data:`BINS` of equal width: logits (N, C), target (N,).

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    require_finite(logits=logits)
    # torchmetrics counts a confidence of exactly 1 in a bin of its own.
    probabilities = logits.softmax(dim=1).clamp(max=1 - 2**-24)
    return 100 * multiclass_calibration_error(probabilities, target, logits.size(1), n_bins=BINS).item()


def run(settings: Settings, loss: Loss, seed: int) -> Mapping[str, Any]:
    """Train with ``loss``; expected calibration error, energies and accuracy of the test set."""
    images = load(settings, seed)
    logits, target = apply(classifier(settings, images, seed, loss), images.test, settings)
    measures = {ECE: calibration_error(logits, target), **energies(logits, target)}
    return {**measures, "accuracy": accuracy(logits, target)}


STUDY = Study(
    title="Calibration and label smoothing",
    paper="Table 12 of the paper (CIFAR-10 and MNIST), Table 8 (MNIST)",
    systems={
        "CE": nn.CrossEntropyLoss(),
        "EL 0.75": EncouragingLoss(log_end=0.75),
        "EL 1": EncouragingLoss(log_end=1.0),
        "CE + LS": nn.CrossEntropyLoss(label_smoothing=SMOOTHING),
        "EL 0.75 + LS": EncouragingLoss(log_end=0.75, label_smoothing=SMOOTHING),
        "EL 1 + LS": EncouragingLoss(log_end=1.0, label_smoothing=SMOOTHING),
    },
    run=run,
    measures={ECE: "{:.2f}", ON: "{:.1f}", AROUND: "{:.1f}", "accuracy": "{:.2f}"},
    claims=[
        Claim("EL 0.75", "CE", ECE, "3.1 to 4.2 (CIFAR-10)"),
        Claim("EL 0.75 + LS", "CE + LS", ECE, "8.8 to 3.4 (CIFAR-10)", lower=True),
        Claim("EL 0.75 + LS", "EL 0.75", ECE, "4.2 to 3.4 (CIFAR-10)", lower=True),
        Claim("EL 1 + LS", "EL 1", ECE, "6.2 to 5.6 (CIFAR-10)", lower=True),
        Claim("EL 1", "CE", ECE, "0.5 to 0.4 (MNIST)", lower=True, data="mnist"),
        Claim("EL 1", "CE", ECE, "3.1 to 6.2 (CIFAR-10)", data="cifar10"),
        Claim("EL 1 + LS", "CE + LS", ECE, "0.9 to 0.3 (MNIST), 8.8 to 5.6 (CIFAR-10)", lower=True),
        Claim("EL 1", "CE", ON, "-27 to -131.6 (MNIST), -15.1 to -54.5 (CIFAR-10)", lower=True),
        Claim("CE + LS", "CE", "accuracy", "99.42 to 99.54 (Table 8, MNIST)"),
        Claim("EL 1 + LS", "CE + LS", "accuracy", "99.54 to 99.63 (Table 8, MNIST)"),
    ],
    note=f"{BINS} bins of equal width; smoothing {SMOOTHING:g}. {NOTE}",
)
