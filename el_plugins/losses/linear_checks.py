"""Which hidden states, output matrices and targets the linear form takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from el_plugins.losses.validation import check_floating, check_tensor, holds_indices

# What torch's tracers use in place of plain tensors.
STAND_INS = (FakeTensor, FunctionalTensor)


def check_linear(input: Tensor, matrix: Tensor, bias: Tensor | None, target: Tensor) -> None:
    """Raise ValueError for hidden states, matrix, bias or targets that do not fit together or are sharded."""
    named = {"input": input, "linear_weight": matrix, "linear_bias": bias}
    for name, value in named.items():
        if value is None:
            continue
        check_floating(name, value)
        if not is_whole(value):
            kind = type(value).__name__ if value.layout == torch.strided else f"layout {value.layout}"
            raise ValueError(
                f"{name} must be a whole, dense torch.Tensor on this device, got {kind}: gather "
                f"sharded weights first, or give encouraging_loss the logits"
            )
    if input.dim() == 0 or matrix.dim() != 2 or matrix.size(1) != input.size(-1) or not len(matrix):
        raise ValueError(
            f"linear_weight must have shape (classes, {input.size(-1) if input.dim() else 'D'}) for input of "
            f"shape {tuple(input.shape)}, got {tuple(matrix.shape)}"
        )
    if bias is not None and bias.shape != matrix.shape[:1]:
        raise ValueError(f"linear_bias must have shape ({len(matrix)},), got {tuple(bias.shape)}")
    check_tensor("target", target)
    if not holds_indices(target) or target.shape != input.shape[:-1]:
        raise ValueError(
            f"target must be integer class indices of shape {tuple(input.shape[:-1])}, "
            f"got {target.dtype} of shape {tuple(target.shape)}"
        )


def is_whole(value: Tensor) -> bool:
    """Whether ``value`` is dense and holds its own elements: classes with their own dispatch do not."""
    own_dispatch = type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__
    return value.layout == torch.strided and (not own_dispatch or isinstance(value, STAND_INS))
