"""The options of a row's loss, as one value from the public functions to the reference and the kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.numerics import REDUCTIONS
from el_plugins.losses.validation import check_choice, check_number

SMOOTHINGS = ("uniform", "fairseq")


class RowOptions(NamedTuple):
    """What is the same for every row of :func:`~el_plugins.losses.encouraging_loss`; checked before."""

    bonus: Bonus
    weight: Tensor | None = None  # (V)
    label_smoothing: float = 0.0
    smoothing: str = "uniform"

    def smoothed_target(self, classes: int) -> tuple[float, float]:
        """(q_y, q_j for j != y): the smoothed target's probabilities over ``classes`` classes."""
        epsilon = self.label_smoothing
        if self.smoothing == "uniform":
            return 1 - epsilon + epsilon / classes, epsilon / classes
        return 1 - epsilon, epsilon / max(classes - 1, 1)


def check_options(reduction: str, label_smoothing: float, smoothing: str) -> None:
    """Raise ValueError for an unknown reduction or smoothing, or an epsilon outside [0, 1]."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("smoothing", smoothing, SMOOTHINGS)
    check_number("label_smoothing", label_smoothing, low=0.0, high=1.0)


def check_soft_options(
    ignore_index: int, label_smoothing: float, smoothing: str, return_log_prob: bool
) -> None:
    """Raise ValueError for options that need class indices, where the target is class probabilities."""
    if return_log_prob:
        raise ValueError("return_log_prob must be False for class probabilities, which name no one target")
    if ignore_index >= 0:
        raise ValueError(f"ignore_index must be negative for class probabilities, got {ignore_index}")
    if label_smoothing > 0 and smoothing == "fairseq":
        raise ValueError(
            "smoothing='fairseq' spreads label_smoothing over all classes but the target, which class "
            "probabilities do not name; use smoothing='uniform'"
        )
