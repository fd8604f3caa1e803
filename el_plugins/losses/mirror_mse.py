"""Mean-squared error with the mirror bonus (section 4.5 and Table 5 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from el_plugins.losses.numerics import REDUCTIONS, keep_nonfinite, reduce, single_precision
from el_plugins.losses.validation import (
    check_choice,
    check_class_indices,
    check_index,
    check_weight,
    class_layout,
    shape_text,
)

ACTIVATIONS = ("softmax", "sigmoid")


def mirror_mse_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    *,
    activation: str = "softmax",
    ignore_index: int = -100,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Squared error minus its mirror image, which rewards well-classified examples.

    .. math:: L_{nc} = w_{t_n} \, ((y - p)^2 - (y p)^2 - ((1-y)(1-p))^2)

    with y one-hot at the row's target t_n and w its weight, 1 by default. For y in {0, 1} this is the
    straight line ``(1 - 2y)(2p - 1)``, whose slope does not vanish as p approaches y.

    Args:
        input: logits, floating, shaped (C), (N, C) or (N, C, d1, ...); fp16 and bf16 computed in fp32.
        target: class indices, integer, shaped (), (N) or (N, d1, ...).
        reduction: ``none`` (a value for each class, input's shape), ``sum``, or ``mean`` over classes and
            rows, weighted as torch's cross-entropy does: over the rows n that are not ignored,

            .. math:: \sum_{nc} L_{nc} \, / \, (C \sum_n w_{t_n})

            and 0 when there are none.
        activation: p is the ``softmax`` over classes or the ``sigmoid`` of each logit.
        ignore_index: the target whose rows give exactly 0, whatever their logits.
        weight: a factor for each class, shaped (C); the target's applies to its whole row.

    Returns:
        float32 (float64 for float64 input).

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype. Target values are checked on
            CPU in eager mode only; elsewhere one out of range makes its row NaN in loss and gradient.
    """
    check_options(reduction, activation, ignore_index)
    class_dim = class_layout(input, target)
    classes = input.size(class_dim)
    check_weight(weight, classes)
    label = target.long().unsqueeze(class_dim)
    check_class_indices(label, classes, ignore_index)
    in_range = (label >= 0) & (label < classes)
    valid = label != ignore_index
    x = single_precision(input).masked_fill(~valid, 0)
    p = x.softmax(class_dim) if activation == "softmax" else x.sigmoid()
    index_shape = [classes if dim == class_dim else 1 for dim in range(input.dim())]
    is_target = label == torch.arange(classes, device=x.device).view(index_shape)
    loss = torch.where(is_target, 1 - 2 * p, 2 * p - 1)
    factor = valid.to(x.dtype)
    if weight is not None:
        factor = weight.to(x.dtype)[label.masked_fill(~in_range, 0)].masked_fill(~valid, 0)
    finite = (x.isfinite() | (x == -torch.inf)) & (in_range | ~valid)
    loss = keep_nonfinite(loss * factor, finite)
    return reduce(loss, reduction, factor.sum() * classes)


def check_options(reduction: str, activation: str, ignore_index: int) -> None:
    """Raise ValueError for an unknown reduction or activation, or an ignore_index that is not an integer."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("activation", activation, ACTIVATIONS)
    check_index("ignore_index", ignore_index)


class MirrorMSELoss(nn.Module):
    """:func:`mirror_mse_loss` as a module; arguments checked at construction.

    ``weight`` is a buffer, so it moves with the module and is saved with it.
    """

    weight: Tensor | None

    def __init__(
        self,
        reduction: str = "mean",
        *,
        activation: str = "softmax",
        ignore_index: int = -100,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_options(reduction, activation, ignore_index)
        self.register_buffer("weight", weight)
        self.reduction = reduction
        self.activation = activation
        self.ignore_index = ignore_index

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return (
            f"reduction={self.reduction!r}, activation={self.activation!r}, "
            f"ignore_index={self.ignore_index}, weight={shape_text(self.weight)}"
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of ``input`` against the class indices ``target``."""
        return mirror_mse_loss(
            input,
            target,
            self.reduction,
            activation=self.activation,
            ignore_index=self.ignore_index,
            weight=self.weight,
        )
