"""Energies on the data and around it, and margins (Figures 1, 5, 6 and 10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import energy, margin
from experiments.plots import plot_energies, plot_margins
from experiments.studies.data import load
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Results, Study
from experiments.studies.training import Loss, apply, classifier

ON, AROUND, MARGIN = "energy on the data", "lowest energy off the data", "median margin"
NOTE = "In the authors' script the lowest energy off the data is never above 0."
SHOWN = 3  # class of the energy figure
SAMPLES = 2000  # test samples that the figures show


def energies(logits: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Mean energy of the targets, and of the lowest other class: logits (N, C), target (N,)."""
    off = -logits.scatter(1, target.unsqueeze(1), -torch.inf).max(dim=1).values
    return {ON: energy(logits, target).mean().item(), AROUND: off.mean().item()}


def run(settings: Settings, loss: Loss, seed: int) -> Mapping[str, Any]:
    """Train with ``loss``; energies and margins of the test set."""
    images = load(settings, seed)
    logits, target = apply(classifier(settings, images, seed, loss), images.test, settings)
    # A folder's images stand class by class.
    shown = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    return {
        **energies(logits, target),
        MARGIN: margin(logits, target).median().item(),
        "logits": logits[shown].tolist(),
        "target": target[shown].tolist(),
    }


def first_seed(results: Results) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Logits and targets of each system's first seed."""
    outputs = {name: next(iter(by_seed.values())) for name, by_seed in results.items()}
    return {name: (torch.tensor(one["logits"]), torch.tensor(one["target"])) for name, one in outputs.items()}


def draw_energies(axes: Any, results: Results) -> None:
    """Figure 5 of one class: :data:`SHOWN`, or the last where there are fewer."""
    outputs = first_seed(results)
    classes = next(iter(outputs.values()))[0].size(1)
    plot_energies(axes, outputs, min(SHOWN, classes - 1))


STUDY = Study(
    title="Energies and margins",
    paper="Section 4.3, Figures 1, 5, 6 and 10 of the paper (CIFAR-10)",
    systems={
        "CE": nn.CrossEntropyLoss(),
        "EL 0.75": EncouragingLoss(log_end=0.75),
        "EL 1": EncouragingLoss(log_end=1.0),
    },
    run=run,
    measures={ON: "{:.1f}", AROUND: "{:.1f}", MARGIN: "{:.1f}"},
    claims=[
        Claim("EL 0.75", "CE", ON, "5 lower for class cat (C.2)", lower=True),
        Claim("EL 1", "CE", ON, "lower (Figure 5)", lower=True),
        Claim("EL 0.75", "CE", MARGIN, "centre 15 to 17 (C.2)"),
        Claim("EL 1", "CE", MARGIN, "centre 15 to 50 (Figure 6)"),
    ],
    note=NOTE,
    figures={
        "energies": draw_energies,
        "margins": lambda axes, results: plot_margins(axes, first_seed(results)),
    },
)
