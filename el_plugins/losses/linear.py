"""Encouraging loss of a linear layer's output, without ever holding that output."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import fused_row_losses, row_terms
from el_plugins.losses.encouraging import EncouragingLoss, check_options
from el_plugins.losses.kernels import backends, linear_function
from el_plugins.losses.kernels.transforms import is_transformed
from el_plugins.losses.validation import (
    any_true,
    check_floating,
    check_index,
    check_targets,
    check_weight,
    reduce,
)

# What torch's tracers put in the place of plain tensors.
STAND_INS = (FakeTensor, FunctionalTensor)


def linear_encouraging_loss(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    log_end: float = 0.75,
    bonus: str = "log",
    bonus_weight: float = 1.0,
    bonus_start: float | None = None,
    bonus_exponent: float = 2.0,
    bonus_eps: float = 1e-5,
    smoothing: str = "uniform",
    return_log_prob: bool = False,
) -> Tensor:
    """``encouraging_loss(F.linear(input, linear_weight, linear_bias), target)`` in less memory.

    The logits exist for some rows at a time: for about 4 million logits (16 MiB in fp32), or for 128 rows
    (a sixteenth of all where that is less) if those have more. For ``mean`` and ``sum`` the gradients are
    made in forward and a second backward is refused; for ``none``, and in fp16, backward computes the logits
    again.
    Where torch (2.13 and later) has ``F.linear_cross_entropy``, that does the ``mean`` and ``sum`` of plain
    cross-entropy in float32 and float64 (on a GPU, of layers without bias).

    Args:
        input: hidden states, floating, shaped (..., D).
        linear_weight: the output matrix, (V, D), in input's dtype (any under autocast).
        target: class indices, integer, shaped (...).
        linear_bias: (V) or None.
        weight, ignore_index, reduction, label_smoothing, log_end, bonus, bonus_weight, bonus_start,
            bonus_exponent, bonus_eps, smoothing, return_log_prob: as in :func:`encouraging_loss`.

    Returns:
        As :func:`encouraging_loss`. Differentiable once, by ``input``, ``linear_weight`` and
        ``linear_bias``.

    Raises:
        RuntimeError: a second derivative, a second backward, forward mode or a batch of gradients.
        ValueError: an argument is out of range or of the wrong shape or dtype, sparse, or a sharded tensor.
            Target values are checked on CPU in eager mode only.
    """
    terms = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)
    check_options(reduction, label_smoothing, smoothing)
    check_index("ignore_index", ignore_index)
    check_linear(input, linear_weight, linear_bias, target)
    hidden = input.reshape(-1, input.size(-1))
    classes = len(linear_weight)
    check_weight(weight, classes)
    rows, kept = check_targets(target, classes, ignore_index)
    summed = reduction != "none"
    dtype = layer_dtype(hidden, linear_weight, linear_bias)
    # Its zeros times the logits of a row that is not kept are NaN where the bias excludes a class.
    finite = linear_bias is None or any_true(kept) is not None
    plain = summed and terms.is_nothing and not label_smoothing and not return_log_prob
    log_p = None
    if plain and finite and torch_sums(dtype):
        losses = cross_entropy_by_torch(hidden, linear_weight, linear_bias, rows, kept, weight)
    else:
        losses, log_p = linear_row_losses(
            hidden,
            linear_weight,
            linear_bias,
            rows,
            kept,
            weight,
            label_smoothing,
            smoothing,
            terms,
            summed,
        )
    count = (kept.to(losses.dtype) if weight is None else kept * weight.to(losses.dtype)[rows]).sum()
    loss = reduce(losses if summed else losses.reshape(target.shape), reduction, count)
    if return_log_prob and log_p is not None:
        return loss, log_p.reshape(target.shape)  # type: ignore[return-value]
    return loss


def linear_row_losses(
    hidden: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    target: Tensor,
    kept: Tensor,
    weight: Tensor | None,
    label_smoothing: float,
    smoothing: str,
    bonus: Bonus,
    summed: bool,
) -> tuple[Tensor, Tensor]:
    """Losses (N), or their sum if ``summed``, and log p of the targets (N), of checked arguments."""
    dtype = layer_dtype(hidden, matrix, bias)
    hidden, matrix, bias = hidden.to(dtype), matrix.to(dtype), None if bias is None else bias.to(dtype)
    hidden = hidden.masked_fill(~kept.unsqueeze(1), 0)  # nothing times NaN is NaN, in the matrix' gradient
    # The matrix products take most of the time; a compiler would take 200 MB that this form is to save.
    path = backends.chosen(hidden, may_compile=False)
    if path == "formula":
        logits = F.linear(hidden, matrix, bias)
        losses, log_p = fused_row_losses(
            logits, target, kept, weight, label_smoothing, smoothing, bonus, inplace=False
        )
        return losses.sum() if summed else losses, log_p
    terms = row_terms(weight, label_smoothing, smoothing, bonus, len(matrix), hidden.dtype)
    # Made in forward, fp16 gradients would not be scaled yet, and lose what loss scaling is there to keep.
    early = summed and dtype != torch.float16 and torch.is_grad_enabled() and not is_transformed()
    function = linear_function.LinearLoss if early else linear_function.LinearRowLosses
    losses, log_p = function.apply(hidden, matrix, bias, target, kept, terms, path)
    return losses.sum() if summed and not early else losses, log_p


def layer_dtype(hidden: Tensor, matrix: Tensor, bias: Tensor | None) -> torch.dtype:
    """The dtype of the layer's output, which autocast may choose."""
    with torch.no_grad():
        return F.linear(hidden[:0], matrix, bias).dtype


def torch_sums(dtype: torch.dtype) -> bool:
    """Whether torch has the routine, exact in ``dtype`` (it rounds narrow sums), and the choice is ours."""
    wide = dtype in (torch.float32, torch.float64)
    return wide and hasattr(nn, "LinearCrossEntropyOptions") and backends.is_free()


def cross_entropy_by_torch(
    hidden: Tensor, matrix: Tensor, bias: Tensor | None, target: Tensor, kept: Tensor, weight: Tensor | None
) -> Tensor:
    """Sum of cross-entropy by torch's own routine, for checked arguments, in chunks of our size.

    It multiplies rows that are not kept by 0, and a NaN there would stay: they are left out, or are zeros.
    """
    options = nn.LinearCrossEntropyOptions(
        batch_chunk_size=linear_function.rows_at_a_time(len(hidden), len(matrix))
    )
    left_out = any_true(~kept)
    if left_out is None:
        hidden, target = hidden.masked_fill(~kept.unsqueeze(1), 0), target.masked_fill(~kept, -100)
    elif left_out:
        hidden, target = hidden[kept], target[kept]
    loss = F.linear_cross_entropy(
        hidden,
        matrix,
        target,
        linear_bias=bias,
        weight=weight,
        reduction="sum",
        options=options,
    )
    if loss.requires_grad:
        loss.register_hook(
            lambda _: backends.refuse_second_order()
        )  # the routine gives 0 for them in silence
    return loss


def check_linear(input: Tensor, matrix: Tensor, bias: Tensor | None, target: Tensor) -> None:
    """Raise ValueError for hidden states, matrix, bias and targets that do not fit, or sharded ones."""
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
    if target.is_floating_point() or target.dtype == torch.bool or target.shape != input.shape[:-1]:
        raise ValueError(
            f"target must be integer class indices of shape {tuple(input.shape[:-1])}, "
            f"got {target.dtype} of shape {tuple(target.shape)}"
        )


def is_whole(value: Tensor) -> bool:
    """Whether ``value`` is dense and has its elements itself: no class with a dispatch of its own has."""
    own_dispatch = type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__
    return value.layout == torch.strided and (not own_dispatch or isinstance(value, STAND_INS))


class LinearEncouragingLoss(nn.Module):
    """A linear output layer and :func:`linear_encouraging_loss` of it, as ``nn.LinearCrossEntropyLoss``.

    Args:
        in_features: D.
        num_classes: V.
        bias: whether the layer has a bias.
        options: those of :class:`EncouragingLoss` but ``inplace``, checked at construction.
    """

    def __init__(self, in_features: int, num_classes: int, *, bias: bool = False, **options: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, num_classes, bias)
        self.loss = EncouragingLoss(**options)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of hidden states ``input`` (..., D) against ``target`` (...)."""
        loss = self.loss
        return linear_encouraging_loss(
            input,
            self.linear.weight,
            target,
            linear_bias=self.linear.bias,
            weight=loss.weight,
            ignore_index=loss.ignore_index,
            reduction=loss.reduction,
            label_smoothing=loss.label_smoothing,
            smoothing=loss.smoothing,
            **loss.bonus.arguments(),
        )
