"""Encouraging loss of each row by the implementation that is chosen: the formula, or a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.kernels import backends
from el_plugins.losses.kernels.soft_target_function import SoftLosses, SoftOptions
from el_plugins.losses.kernels.softmax import Terms
from el_plugins.losses.kernels.softmax_function import RowLosses
from el_plugins.losses.reference import row_losses, smoothed_target, soft_row_losses
from el_plugins.losses.validation import single_precision


def fused_row_losses(
    logits: Tensor,
    target: Tensor,
    kept: Tensor,
    weight: Tensor | None,
    label_smoothing: float,
    smoothing: str,
    bonus: Bonus,
    inplace: bool,
) -> tuple[Tensor, Tensor]:
    """:func:`row_losses` by the path that :mod:`~el_plugins.losses.kernels.backends` chooses.

    Returns:
        Losses, (N), and log p of the targets, (N), without a gradient; 0 for rows that are not kept.
    """
    path = backends.chosen(logits)
    if path == "formula":
        losses = row_losses(logits, target, kept, weight, label_smoothing, smoothing, bonus)
        z = single_precision(logits.detach()).masked_fill(~kept.unsqueeze(1), 0)
        log_p = z.gather(1, target.unsqueeze(1)).squeeze(1) - z.logsumexp(dim=1)
        return losses, log_p.masked_fill(~kept, 0)
    terms = row_terms(weight, label_smoothing, smoothing, bonus, logits.size(1), logits.dtype)
    losses, log_p, *_ = RowLosses.apply(logits, target, kept, terms, path, inplace)
    return losses, log_p


def fused_soft_row_losses(
    logits: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, bonus: Bonus
) -> Tensor:
    """:func:`soft_row_losses` by the path that :mod:`~el_plugins.losses.kernels.backends` chooses."""
    path = backends.chosen(logits)
    if path == "formula":
        return soft_row_losses(logits, target, weight, label_smoothing, bonus)
    weight = constant_weight(weight, logits.dtype)
    options = SoftOptions(1 - label_smoothing, label_smoothing / logits.size(1), weight, bonus)
    return SoftLosses.apply(logits, target, options, path)


def row_terms(
    weight: Tensor | None,
    label_smoothing: float,
    smoothing: str,
    bonus: Bonus,
    classes: int,
    dtype: torch.dtype,
) -> Terms:
    """What the kernels take of the options, for logits of ``dtype``."""
    on_target, elsewhere = smoothed_target(label_smoothing, smoothing, classes)
    return Terms(on_target, elsewhere if label_smoothing else 0.0, constant_weight(weight, dtype), bonus)


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
