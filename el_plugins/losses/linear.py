"""Encouraging loss of a linear layer's output, without ever holding that output."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import formula_row_losses, kernel_options
from el_plugins.losses.encouraging import EncouragingLoss
from el_plugins.losses.kernels import backends, linear_function
from el_plugins.losses.kernels.transforms import is_transformed
from el_plugins.losses.linear_checks import check_linear
from el_plugins.losses.linear_cross_entropy import cross_entropy_by_torch, torch_can_sum
from el_plugins.losses.numerics import reduce, weighted_count
from el_plugins.losses.options import RowOptions, check_options
from el_plugins.losses.validation import any_true, check_index, check_weight, flat_targets


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

    The logits exist for a chunk of rows at a time:

    - CPU: those of about 4 million logits (16 MiB in fp32), but at least 128 rows or a quarter of all,
      whichever is less.
    - GPU: 1,024 rows, or a sixteenth of all or 32 million logits where that is more, in multiples of 256, as
      long as their logits take no more than an eighth of the free memory. The gradient of a narrow matrix is
      summed in float32 there, unrounded.

    For ``mean`` and ``sum`` the gradients are computed in forward and a second backward is refused; for
    ``none``, and in fp16, backward recomputes the logits. ``mean`` and ``sum`` of plain cross-entropy in
    float32 and float64 (on a GPU, of layers without bias) are left to ``F.linear_cross_entropy`` where torch
    (2.13 and later) has it.

    Args:
        input: hidden states, floating, shaped (..., D).
        linear_weight: the output matrix, (V, D), in input's dtype (in any dtype under autocast).
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
    weighted_bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)
    check_options(reduction, label_smoothing, smoothing)
    check_index("ignore_index", ignore_index)
    check_linear(input, linear_weight, linear_bias, target)
    hidden = input.reshape(target.numel(), input.size(-1))
    classes = len(linear_weight)
    check_weight(weight, classes)
    indices, valid = flat_targets(target, classes, ignore_index)
    options = RowOptions(weighted_bonus, weight, label_smoothing, smoothing)
    summed = reduction != "none"
    dtype = layer_dtype(hidden, linear_weight, linear_bias)
    is_plain = summed and weighted_bonus.is_nothing and not label_smoothing and not return_log_prob
    is_constant = weight is None or not weight.requires_grad  # torch's routine has no gradient of it
    # Where it cannot drop ignored rows, torch's routine gives NaN for a bias of -inf, which excludes a class.
    is_safe = linear_bias is None or any_true(valid) is not None
    log_p = None
    if is_plain and is_constant and is_safe and torch_can_sum(dtype):
        losses = cross_entropy_by_torch(hidden, linear_weight, linear_bias, indices, valid, weight)
    else:
        losses, log_p = linear_row_losses(
            hidden, linear_weight, linear_bias, indices, valid, options, summed=summed
        )
    count = weighted_count(indices, valid, weight, losses.dtype)
    loss = reduce(losses if summed else losses.reshape(target.shape), reduction, count)
    if return_log_prob and log_p is not None:
        return loss, log_p.reshape(target.shape)  # type: ignore[return-value]
    return loss


def linear_row_losses(
    hidden: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    target: Tensor,
    valid: Tensor,
    options: RowOptions,
    *,
    summed: bool,
) -> tuple[Tensor, Tensor]:
    """Losses of the rows of ``hidden @ matrix.T + bias``, by the chosen path; arguments are checked before.

    Args:
        hidden: (N, D), floating.
        matrix: (V, D), floating.
        bias: (V) or None.
        target: (N), class indices within range, also of ignored rows.
        valid: (N), bool; the other rows give exactly 0 loss and gradient, even where they hold NaN.
        options: see :class:`~el_plugins.losses.options.RowOptions`.
        summed: whether to return the sum of the losses.

    Returns:
        Losses (N), or their sum, and log p of the targets (N) without a gradient.
    """
    dtype = layer_dtype(hidden, matrix, bias)
    hidden, matrix, bias = hidden.to(dtype), matrix.to(dtype), None if bias is None else bias.to(dtype)
    # 0 * NaN is NaN in the matrix' gradient: zero ignored rows explicitly.
    hidden = hidden.masked_fill(~valid.unsqueeze(1), 0)
    # Matrix products take most of the time, and a compiler would take 200 MB of what this form saves.
    path = backends.chosen(hidden, may_compile=False)
    if path == "formula":
        losses, log_p = formula_row_losses(F.linear(hidden, matrix, bias), target, valid, options)
        return losses.sum() if summed else losses, log_p
    for_kernels = kernel_options(options, len(matrix), hidden.dtype)
    # fp16 gradients computed in forward are not scaled yet, and underflow where loss scaling prevents it.
    early = summed and dtype != torch.float16 and torch.is_grad_enabled() and not is_transformed()
    function = linear_function.LinearLoss if early else linear_function.LinearRowLosses
    losses, log_p = function.apply(hidden, matrix, bias, target, valid, for_kernels, path)
    return losses.sum() if summed and not early else losses, log_p


def layer_dtype(hidden: Tensor, matrix: Tensor, bias: Tensor | None) -> torch.dtype:
    """The dtype of the layer's output, which depends on autocast."""
    with torch.no_grad():
        return F.linear(hidden[:0], matrix, bias).dtype


class LinearEncouragingLoss(nn.Module):
    """A linear output layer and :func:`linear_encouraging_loss` of it, as ``nn.LinearCrossEntropyLoss``.

    Args:
        in_features: D.
        num_classes: V.
        bias: whether the layer has a bias.
        device, dtype: of the layer.
        options: those of :class:`EncouragingLoss` but ``inplace``, checked at construction.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, num_classes, bias, device, dtype)
        if "inplace" in options:
            raise ValueError("inplace has no meaning here, as the logits are never all there: leave it out")
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
