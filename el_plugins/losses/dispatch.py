"""Encouraging loss of each row by the chosen implementation: the formula or a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from el_plugins.losses.kernels import backends, softmax_op
from el_plugins.losses.kernels.memory import overlaps
from el_plugins.losses.kernels.soft_target_function import SoftLosses, SoftOptions
from el_plugins.losses.kernels.softmax import KernelOptions
from el_plugins.losses.kernels.softmax_function import RowLosses
from el_plugins.losses.kernels.softmax_rows import count_valid, plain_count_valid
from el_plugins.losses.kernels.softmax_total_function import KernelRowLosses, TotalLoss
from el_plugins.losses.kernels.transforms import is_transformed
from el_plugins.losses.numerics import reduce, single_precision, weighted_count
from el_plugins.losses.options import RowOptions
from el_plugins.losses.reference import row_losses, soft_row_losses
from el_plugins.losses.validation import indices_and_mask, is_compiling

# Of losses and gradient in one pass, torch 2.2 compiles parts anew at every call.
COMPILES_ONE_PASS = torch.__version__ >= (2, 6)  # type: ignore[operator]


def fused_loss(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    options: RowOptions,
    reduction: str,
    *,
    inplace: bool = False,
) -> tuple[Tensor, Tensor]:
    """The losses of :func:`fused_row_losses` reduced, a scalar for ``mean`` and ``sum``; and log p, (N).

    A kernel that computes the gradient in forward writes it over ``logits`` there if ``inplace``.
    """
    path = backends.chosen(logits)
    # fp16 gradients computed in forward are not scaled yet, and underflow where loss scaling prevents it.
    is_early = logits.requires_grad and torch.is_grad_enabled() and logits.dtype != torch.float16
    by_total = backends.by_triton(path, logits) or (is_early and fuses(path, logits))
    # Under a transform of torch.func only the nodes see plain tensors, so that nothing else may be a kernel.
    if reduction == "none" or is_transformed() or not by_total:
        losses, log_p = fused_row_losses(logits, target, ignore_index, options, inplace=inplace)
        count = None
        if reduction == "mean":
            count = weighted_count(*indices_and_mask(target, ignore_index), options.weight, losses.dtype)
        return reduce(losses, reduction, count), log_p
    classes = logits.size(-1)
    for_kernels = kernel_options(options, classes, logits.dtype)
    parts = None
    if reduction == "mean":
        count_by = count_valid if path == "triton" else plain_count_valid
        parts = count_by(target, ignore_index, for_kernels.weight, classes)
    arguments = target, ignore_index, for_kernels, parts, inplace and not overlaps(logits)
    if is_early:
        return TotalLoss.apply(batched(logits), *arguments, path)
    losses, log_p = KernelRowLosses.apply(batched(logits), *arguments)
    return losses.sum(), log_p


def fused_row_losses(
    logits: Tensor, target: Tensor, ignore_index: int, options: RowOptions, *, inplace: bool = False
) -> tuple[Tensor, Tensor]:
    """:func:`row_losses` by the path that :mod:`~el_plugins.losses.kernels.backends` chooses.

    Args:
        logits: (N, V), or (batch, rows, V) where batch * rows = N, any float dtype.
        target: (N), class indices or ``ignore_index``.
        ignore_index: the target of rows that give exactly 0, even where they hold NaN.
        options: as in :func:`row_losses`.
        inplace: let backward write the gradient over ``logits``.

    Returns:
        Losses, (N), and log p of the targets, (N), without a gradient; both 0 where ignored.
    """
    path = backends.chosen(logits)
    if keeps_kernel(logits):
        for_kernels = kernel_options(options, logits.size(-1), logits.dtype)
        return softmax_op.row_losses(batched(logits), target, ignore_index, for_kernels)
    if backends.by_triton(path, logits):
        for_kernels = kernel_options(options, logits.size(-1), logits.dtype)
        may_write = inplace and not overlaps(logits)
        return KernelRowLosses.apply(batched(logits), target, ignore_index, for_kernels, None, may_write)
    logits = logits.reshape(-1, logits.size(-1))
    indices, valid = indices_and_mask(target, ignore_index)
    if path == "formula":
        return formula_row_losses(logits, indices, valid, options)
    for_kernels = kernel_options(options, logits.size(1), logits.dtype)
    losses, log_p, *_ = RowLosses.apply(logits, indices, valid, for_kernels, path, inplace)
    return losses, log_p


def fuses(path: str, logits: Tensor) -> bool:
    """Whether compiled code computes gradients in forward: on a CPU, not in double precision."""
    is_compiled = path == "compiled" and COMPILES_ONE_PASS
    return is_compiled and logits.device.type == "cpu" and logits.dtype != torch.float64


def keeps_kernel(logits: Tensor) -> bool:
    """Whether code that is being compiled or exported calls the kernel as an operator."""
    return is_compiling() and softmax_op.IS_AVAILABLE and logits.is_cuda and logits.dtype != torch.float64


def batched(logits: Tensor) -> Tensor:
    """(N, V) logits as (1, N, V)."""
    return logits.unsqueeze(0) if logits.dim() == 2 else logits


def formula_row_losses(
    logits: Tensor, target: Tensor, valid: Tensor, options: RowOptions
) -> tuple[Tensor, Tensor]:
    """:func:`row_losses`, and log p of the targets, (N), without a gradient."""
    z = single_precision(logits.detach()).masked_fill(~valid.unsqueeze(1), 0)
    log_p = z.gather(1, target.unsqueeze(1)).squeeze(1) - z.logsumexp(dim=1)
    return row_losses(logits, target, valid, options), log_p.masked_fill(~valid, 0)


def fused_soft_row_losses(logits: Tensor, target: Tensor, options: RowOptions) -> Tensor:
    """:func:`soft_row_losses` by the path that :mod:`~el_plugins.losses.kernels.backends` chooses."""
    path = backends.chosen(logits)
    if path == "formula":
        return soft_row_losses(logits, target, options)
    epsilon, weight = options.label_smoothing, constant_weight(options.weight, logits.dtype)
    for_kernels = SoftOptions(1 - epsilon, epsilon / logits.size(1), weight, options.bonus)
    return SoftLosses.apply(logits, target, for_kernels, path)


def kernel_options(options: RowOptions, classes: int, dtype: torch.dtype) -> KernelOptions:
    """``options`` as the kernels take them, for (N, ``classes``) logits of ``dtype``."""
    on_target, elsewhere = options.smoothed_target(classes)
    elsewhere = elsewhere if options.label_smoothing else 0.0
    return KernelOptions(on_target, elsewhere, constant_weight(options.weight, dtype), options.bonus)


def constant_weight(weight: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """``weight`` in the precision in which logits of ``dtype`` are computed.

    Raises:
        ValueError: it requires a gradient.
    """
    if weight is None:
        return None
    if weight.requires_grad:
        raise ValueError(
            "weight must not require a gradient, which the kernels do not have: detach it, or compute "
            "the loss inside \"with el_plugins.losses.kernels.use('formula')\""
        )
    return weight.to(torch.promote_types(dtype, torch.float32))
