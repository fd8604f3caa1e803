"""The paper's figures, from any logits: each function draws on matplotlib axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from el_plugins.losses import encouraging_loss, sigmoid_halted_focal_loss
from el_plugins.metrics import margin


def plot_energies(axes: Any, systems: Mapping[str, tuple[Tensor, Tensor]], label: int) -> None:
    """Conditional energy E(y|x) of every class y, averaged over the examples of one (Figures 1 and 5).

    Args:
        axes: matplotlib's.
        systems: (logits (N, C), targets (N)) by name.
        label: the class whose examples are averaged over, 0 <= label < C.

    Raises:
        ValueError: there is no example of ``label``.
    """
    for name, (logits, target) in systems.items():
        chosen = logits[target == label]
        if not len(chosen):
            raise ValueError(f"{name} has no example of class {label}")
        axes.plot(-chosen.double().mean(dim=0).cpu(), marker="o", label=name)
    axes.set(xlabel=f"class y, examples of class {label}", ylabel="mean energy E(y|x)")
    axes.legend()


def plot_margins(axes: Any, systems: Mapping[str, tuple[Tensor, Tensor]], bins: int = 60) -> None:
    """Distribution of the margins z_y - max z_j (Figures 1, 6, 8 and 10).

    Args:
        axes: matplotlib's.
        systems: (logits (N, C), targets (N)) by name.
        bins: of the histogram that all systems share.
    """
    margins = {name: margin(*pair).double().cpu().numpy() for name, pair in systems.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(margins.values())), bins=bins)
    for name, values in margins.items():
        axes.hist(values, bins=edges, density=True, histtype="step", label=name)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set(xlabel="margin", ylabel="density")
    axes.legend()


def plot_losses(axes: Any, log_end: float = 1.0) -> None:
    """Cross-entropy, its bonus and encouraging loss against p of the target (Figure 2)."""
    p, logits, target = _binary()
    loss = encouraging_loss(logits, target, reduction="none", log_end=log_end)
    plain = encouraging_loss(logits, target, reduction="none", bonus="none")
    for name, values in (("cross-entropy", plain), ("bonus", loss - plain), ("encouraging loss", loss)):
        axes.plot(p, values, label=name)
    axes.set(xlabel="p of the target", ylabel="loss")
    axes.legend()


def plot_bonuses(axes: Any, log_ends: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25, 0.0)) -> None:
    """Encouraging loss with bonuses from the normal to the most conservative one (Figure 3)."""
    p, logits, target = _binary()
    for log_end in log_ends:
        loss = encouraging_loss(logits, target, reduction="none", log_end=log_end)
        axes.plot(p, loss, label=f"log_end {log_end:g}")
    axes.plot(
        p, encouraging_loss(logits, target, reduction="none", bonus="none"), "k--", label="cross-entropy"
    )
    axes.set(xlabel="p of the target", ylabel="loss")
    axes.legend()


def plot_halted_focal(axes: Any, gamma: float = 1.0, halt_threshold: float = 0.5) -> None:
    """Focal and halted focal loss beside cross-entropy (Figure 9)."""
    p, logits, _ = _binary()
    z, one = logits[:, 0], torch.ones(len(p), dtype=torch.float64)
    for name, loss_gamma, threshold in (
        ("cross-entropy", 0.0, 1.0),
        ("focal loss", gamma, 1.0),
        ("halted focal loss", gamma, halt_threshold),
    ):
        loss = sigmoid_halted_focal_loss(z, one, -1, loss_gamma, halt_threshold=threshold)
        axes.plot(p, loss, label=name)
    axes.set(xlabel="p of the target", ylabel="loss")
    axes.legend()


def plot_family(axes: Any, gamma: float = 2.0) -> None:
    """How hard each loss pushes the target's logit, -dL/dz, against p of the target, of two classes."""
    p, logits, target = _binary()
    el = partial(encouraging_loss, target=target, reduction="none")
    one = torch.ones(len(p), dtype=torch.float64)
    focal = partial(sigmoid_halted_focal_loss, targets=one, alpha=-1, gamma=gamma)
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "cross-entropy": lambda z: el(z, bonus="none"),
        "label smoothing 0.1": lambda z: el(z, bonus="none", label_smoothing=0.1),
        f"focal loss, gamma {gamma:g}": lambda z: focal(z[:, 0] - z[:, 1], halt_threshold=1),
        "the same, halted": lambda z: focal(z[:, 0] - z[:, 1]),
        "DFT, -p": lambda z: -z.softmax(dim=1)[:, 0],
        "Poly-1, log_end 0": lambda z: el(z, log_end=0.0),
        "EL, log_end 0.5": lambda z: el(z, log_end=0.5),
        "EL, log_end 1": lambda z: el(z, log_end=1.0),
    }
    for name, loss in losses.items():
        z = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(z).sum(), z)
        axes.plot(p, -gradient[:, 0], label=name)
    axes.set(xlabel="p of the target", ylabel="push on the target's logit")
    axes.legend()


def _binary() -> tuple[Tensor, Tensor, Tensor]:
    """p of the target, (N), and two classes' logits, (N, 2), and targets, (N), that give it."""
    p = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
    return p, torch.stack([p.logit(), torch.zeros_like(p)], dim=1), torch.zeros(len(p), dtype=torch.long)
