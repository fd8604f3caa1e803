"""Plain cross-entropy of a linear layer's output by torch's own routine, where this torch has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses.kernels import backends, linear_function
from el_plugins.losses.kernels.transforms import refuse_second_order
from el_plugins.losses.validation import any_true


def torch_can_sum(dtype: torch.dtype) -> bool:
    """Whether torch (2.13 and later) has the routine, it is exact in ``dtype``, and no path is set."""
    is_exact = dtype in (torch.float32, torch.float64)
    return is_exact and hasattr(nn, "LinearCrossEntropyOptions") and backends.is_auto()


def cross_entropy_by_torch(
    hidden: Tensor, matrix: Tensor, bias: Tensor | None, target: Tensor, valid: Tensor, weight: Tensor | None
) -> Tensor:
    """Sum of the cross-entropy of all valid rows, in chunks of our size; arguments are checked before.

    The routine multiplies ignored rows by 0, and 0 * NaN is NaN: they are removed here, or zeroed where
    reading ``valid`` is expensive.
    """
    chunk_size = linear_function.rows_at_a_time(hidden, len(matrix))
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=chunk_size)
    has_ignored = any_true(~valid)
    if has_ignored is None:
        hidden, target = hidden.masked_fill(~valid.unsqueeze(1), 0), target.masked_fill(~valid, -100)
    elif has_ignored:
        hidden, target = hidden[valid], target[valid]
    loss = F.linear_cross_entropy(
        hidden, matrix, target, linear_bias=bias, weight=weight, reduction="sum", options=options
    )
    if loss.requires_grad:
        loss.register_hook(lambda _: refuse_second_order())  # the routine silently returns 0 for them
    return loss
