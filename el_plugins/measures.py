"""What the paper measures on logits: energy and margin (section 3.3, Figures 5 and 6)."""

from __future__ import annotations

import torch
from torch import Tensor


def energy(logits: Tensor, target: Tensor) -> Tensor:
    """Energy of the target class, -z_y: low where the model finds the example compatible with its label.

    Args:
        logits: (N, C), any floating dtype.
        target: (N,) int64, 0 <= target < C.

    Returns:
        (N,) in the dtype of ``logits``.
    """
    return -logits.gather(1, target.unsqueeze(1)).squeeze(1)


def margin(logits: Tensor, target: Tensor) -> Tensor:
    """Margin of the target class, z_y - max over the others of z_j; above 0 where it is predicted.

    Args:
        logits: (N, C), any floating dtype, C >= 2.
        target: (N,) int64, 0 <= target < C.

    Returns:
        (N,) in the dtype of ``logits``.
    """
    others = logits.scatter(1, target.unsqueeze(1), -torch.inf)
    return -energy(logits, target) - others.max(dim=1).values
