"""Encouraging loss of each row by the chosen implementation: the formula or a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from el_plugins.losses.kernels import backends
from el_plugins.losses.kernels.soft_target_function import SoftLosses, SoftOptions
from el_plugins.losses.kernels.softmax import KernelOptions
from el_plugins.losses.kernels.softmax_function import RowLosses
from el_plugins.losses.numerics import single_precision
from el_plugins.losses.options import RowOptions
from el_plugins.losses.reference import row_losses, soft_row_losses


def fused_row_losses(
    logits: Tensor, target: Tensor, valid: Tensor, options: RowOptions, *, inplace: bool = False
) -> tuple[Tensor, Tensor]:
    """:func:`row_losses` by the path that :mod:`~el_plugins.losses.kernels.backends` chooses.

    Args:
        logits, target, valid, options: as in :func:`row_losses`.
        inplace: let backward write the gradient over ``logits``.

    Returns:
        Losses, (N), and log p of the targets, (N), without a gradient; both 0 where not ``valid``.
    """
    path = backends.chosen(logits)
    if path == "formula":
        losses = row_losses(logits, target, valid, options)
        z = single_precision(logits.detach()).masked_fill(~valid.unsqueeze(1), 0)
        log_p = z.gather(1, target.unsqueeze(1)).squeeze(1) - z.logsumexp(dim=1)
        return losses, log_p.masked_fill(~valid, 0)
    for_kernels = kernel_options(options, logits.size(1), logits.dtype)
    losses, log_p, *_ = RowLosses.apply(logits, target, valid, for_kernels, path, inplace)
    return losses, log_p


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
