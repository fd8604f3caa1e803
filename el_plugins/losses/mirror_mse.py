"""Mean-squared error with the mirror bonus (section 4.5 and Table 5 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from el_plugins.losses.checks import (
    REDUCTIONS,
    check_choice,
    check_values,
    class_layout,
    keep_nonfinite,
    reduce,
    single_precision,
)

ACTIVATIONS = ("softmax", "sigmoid")


def mirror_mse_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", *, activation: str = "softmax"
) -> Tensor:
    r"""Squared error minus its mirror image, which rewards what is already right.

    .. math:: L = (y - p)^2 - (y p)^2 - ((1-y)(1-p))^2

    with y one-hot. For y in {0, 1} this is the straight line ``(1 - 2y)(2p - 1)``: its slope no longer
    vanishes as p nears y.

    Args:
        input: logits, floating, shaped (C), (N, C) or (N, C, d1, ...); fp16 and bf16 computed in fp32.
        target: class indices, integer, shaped (), (N) or (N, d1, ...).
        reduction: ``none`` (a value for each class, input's shape), ``mean`` over classes and rows
            (0 when there are none) or ``sum``.
        activation: p is the ``softmax`` over classes or the ``sigmoid`` of each logit.

    Returns:
        float32 (float64 for float64 input).

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("activation", activation, ACTIVATIONS)
    class_dim = class_layout(input, target)
    classes = input.size(class_dim)
    check_values(
        lambda t: (t >= 0) & (t < classes), target, f"target must be a class index from 0 to {classes - 1}"
    )
    x = single_precision(input)
    p = x.softmax(class_dim) if activation == "softmax" else x.sigmoid()
    index_shape = [classes if dim == class_dim else 1 for dim in range(input.dim())]
    is_target = target.unsqueeze(class_dim) == torch.arange(classes, device=x.device).view(index_shape)
    loss = torch.where(is_target, 1 - 2 * p, 2 * p - 1)
    return reduce(keep_nonfinite(loss, x.isfinite() | (x == -torch.inf)), reduction)


class MirrorMSELoss(nn.Module):
    """:func:`mirror_mse_loss` as a module; arguments checked at construction."""

    def __init__(self, reduction: str = "mean", *, activation: str = "softmax") -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("activation", activation, ACTIVATIONS)
        self.reduction = reduction
        self.activation = activation

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return f"reduction={self.reduction!r}, activation={self.activation!r}"

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of ``input`` against the class indices ``target``."""
        return mirror_mse_loss(input, target, self.reduction, activation=self.activation)
