"""What all implementations of halted focal loss share: the settings and the constants of Eq. 11."""

from __future__ import annotations

import math
from typing import NamedTuple


class FocalSettings(NamedTuple):
    """The settings of :func:`el_plugins.losses.sigmoid_halted_focal_loss`."""

    alpha: float
    gamma: float
    halt: str
    halt_threshold: float


def halting_shift(p_t: float, gamma: float) -> float:
    """Cross-entropy minus focal loss at ``p_t`` in (0, 1): the constant b of Eq. 11 at phi = p_t."""
    return ((1 - p_t) ** gamma - 1) * math.log(p_t)


def boundary_logit(phi: float) -> float:
    """The logit of ``phi`` in (0, 1), beyond which an element is halted."""
    return math.log(phi) - math.log1p(-phi)
