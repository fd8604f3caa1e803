"""Squared error with and without its mirror bonus (section 4.5, Table 5)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses import EncouragingLoss, MirrorMSELoss
from experiments.studies.data import load
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Study
from experiments.studies.training import Loss, accuracy, apply, classifier

ACCURACY = "accuracy"


def squared_error(logits: Tensor, target: Tensor, activation: str) -> Tensor:
    """Mean of (y - p)^2 over classes and rows, y one-hot; logits (N, C), target (N,)."""
    p = logits.softmax(dim=1) if activation == "softmax" else logits.sigmoid()
    return F.mse_loss(p, F.one_hot(target, logits.size(1)).to(p.dtype))


def run(settings: Settings, loss: Loss, seed: int) -> Mapping[str, Any]:
    """Train with ``loss``; accuracy."""
    images = load(settings, seed)
    model = classifier(settings, images, seed, loss)
    return {ACCURACY: accuracy(*apply(model, images.test, settings))}


STUDY = Study(
    title="Squared error and its mirror bonus",
    paper="Section 4.5 and Table 5 of the paper",
    systems={
        "CE": nn.CrossEntropyLoss(),
        "EL 1": EncouragingLoss(log_end=1.0),
        "MSE, softmax": partial(squared_error, activation="softmax"),
        "MSE + mirror, softmax": MirrorMSELoss(activation="softmax"),
        "MSE, sigmoid": partial(squared_error, activation="sigmoid"),
        "MSE + mirror, sigmoid": MirrorMSELoss(activation="sigmoid"),
    },
    run=run,
    measures={ACCURACY: "{:.2f}"},
    claims=[
        Claim("EL 1", "CE", ACCURACY, "99.42 to 99.56 (MNIST)"),
        Claim("MSE, softmax", "CE", ACCURACY, "99.42 to 99.56 (MNIST)"),
        Claim("MSE + mirror, softmax", "MSE, softmax", ACCURACY, "99.56 to 99.66 (MNIST)"),
        Claim("MSE + mirror, sigmoid", "MSE, sigmoid", ACCURACY, "99.63 to 99.69 (MNIST)"),
    ],
    note="Squared errors are means over the classes, as the authors' are, and get the same learning rate.",
)
