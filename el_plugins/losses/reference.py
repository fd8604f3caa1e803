"""Encouraging loss of each row as the paper writes it, by differentiable torch operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.numerics import keep_nonfinite, single_precision
from el_plugins.losses.options import RowOptions


def row_losses(logits: Tensor, target: Tensor, valid: Tensor, options: RowOptions) -> Tensor:
    """Loss of each row by the formula, which is differentiable and the kernels' oracle.

    Args:
        logits: (N, V), any float dtype.
        target: (N), class indices within range, also of ignored rows.
        valid: (N), bool; the other rows give exactly 0 loss and gradient, even where they hold NaN.
        options: see :class:`~el_plugins.losses.options.RowOptions`.

    Returns:
        (N), float32 or float64.
    """
    z = single_precision(logits).masked_fill(~valid.unsqueeze(1), 0)
    target = target.unsqueeze(1)
    log_p, finite, class_losses = log_softmax_and_class_losses(z, options.bonus)
    loss = class_losses(log_p.gather(1, target), target).squeeze(1)
    weight = None if options.weight is None else options.weight.to(z.dtype)
    if weight is not None:
        loss = loss * weight[target.squeeze(1)]
    if options.label_smoothing > 0:
        on_target, elsewhere = options.smoothed_target(z.size(1))
        losses = class_losses(log_p, torch.arange(z.size(1), device=z.device))
        losses = losses if weight is None else losses * weight
        # Each loss is scaled before the sum, which may overflow unscaled.
        loss = (on_target - elsewhere) * loss + (elsewhere * losses).sum(dim=1)
    return keep_nonfinite(loss, finite).masked_fill(~valid, 0)


def soft_row_losses(logits: Tensor, target: Tensor, options: RowOptions) -> Tensor:
    """Loss of each row against a distribution over the classes, by differentiable torch operations.

    Args:
        logits: (N, V), any float dtype.
        target: q, (N, V), any float dtype, smoothed here as torch does; sum and sign are not checked.
        options: see :class:`~el_plugins.losses.options.RowOptions`; its smoothing is ``uniform``.

    Returns:
        (N), float32 or float64, differentiable by ``target`` too.
    """
    z = single_precision(logits)
    log_p, finite, class_losses = log_softmax_and_class_losses(z, options.bonus)
    q = (1 - options.label_smoothing) * target.to(z.dtype) + options.label_smoothing / z.size(1)
    q = q if options.weight is None else q * options.weight.to(z.dtype)
    losses = class_losses(log_p, torch.arange(z.size(1), device=z.device))
    # 0 * inf is NaN: zero the infinite loss of an excluded class explicitly. Elsewhere q = 0 has a gradient.
    losses = losses.masked_fill((q == 0) & (log_p == -torch.inf), 0)
    return keep_nonfinite((q * losses).sum(dim=1), finite)


def log_softmax_and_class_losses(
    z: Tensor, bonus: Bonus
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """``log p``, which rows are finite, and the function that gives the loss ``-log p + w b(p)`` of a class.

    Args:
        z: logits, (N, V), float32 or float64.
        bonus: w b(p).

    Returns:
        log p, (N, V); whether the row's largest logit is finite, (N), bool; and the function that gives the
        losses of some classes of each row, (N, K), from their log p, (N, K), and indices, (N, K) or (K).
    """
    top, top_class = z.max(dim=1, keepdim=True)
    is_top = torch.arange(z.size(1), device=z.device) == top_class

    # Everything follows from the log-odds against the top class, log((1-p)/p), computed from the *other*
    # classes relative to their own maximum: 1-p loses no digit however close p comes to 1.
    others = z.masked_fill(is_top, -torch.inf)
    only_class = (others == -torch.inf).all(dim=1, keepdim=True)  # no other class left: the bonus is 0
    others = others.masked_fill(only_class, 0)
    second = others.detach().amax(dim=1, keepdim=True)
    log_odds = (others - second).logsumexp(dim=1, keepdim=True) + (second - top)
    log_odds = log_odds.masked_fill(only_class, -torch.inf)
    log_p = (z - top) + F.logsigmoid(-log_odds)

    def class_losses(log_p: Tensor, classes: Tensor) -> Tensor:
        is_top = classes == top_class
        top_log_1mp = F.logsigmoid(log_odds.masked_fill(only_class, 0))
        # Every class but the top one has p <= 1/2, where log1p is accurate.
        log_1mp = torch.where(is_top, top_log_1mp, (-log_p.masked_fill(is_top, -torch.inf).exp()).log1p())
        return bonus(log_p, log_1mp).masked_fill(only_class, 0) - log_p

    return log_p, top.squeeze(1).isfinite(), class_losses
