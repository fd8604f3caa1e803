"""The numerics that the losses share: working precision, overflow that stays visible, reductions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")


def single_precision(x: Tensor) -> Tensor:
    """``x`` in float32 if its dtype is narrower, else unchanged; autograd rounds the gradient back once."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def keep_nonfinite(loss: Tensor, finite: Tensor) -> Tensor:
    """Make loss and gradient NaN where ``finite`` is False, so that loss scaling sees an overflow."""
    return loss * torch.where(finite, 1.0, float("nan")).to(loss.dtype)


def reduce(loss: Tensor, reduction: str, count: Tensor | int | None = None) -> Tensor:
    """Apply ``reduction``; ``mean`` divides by ``count`` (default: elements) and is 0 over nothing."""
    if reduction == "none":
        return loss
    total = loss.sum()
    if reduction == "sum":
        return total
    if count is None:
        count = loss.numel()
    if not isinstance(count, Tensor):
        size: Any = torch.sym_max(count, 1)  # symbolic in torch.export
        return total / size
    return total / count.masked_fill(count == 0, 1)


def weighted_count(target: Tensor, valid: Tensor, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What a weighted mean divides by: the sum of the valid targets' class weights, or their number.

    Args:
        target: (N), class indices within range.
        valid: (N), bool.
        weight: (V) or None.
        dtype: of the losses, and of the result.
    """
    if weight is None:
        return valid.to(dtype).sum()
    return weight.to(dtype)[target].masked_fill(~valid, 0).sum()  # 0 * inf would be NaN
