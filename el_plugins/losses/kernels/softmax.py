"""Encouraging loss of a row, and its gradient in closed form, from a few statistics of the row's logits.

With q the smoothed target and b the bonus, a row's loss is ``sum_i q_i (-log p_i + w b(p_i))``, and its
gradient ``s_j - p_j sum(s)``, where ``s_i = q_i (-1 + w p_i b'(p_i)) = -q_i neg_slope_i``. The top class, the
only one whose p can exceed 1/2, is computed separately: with ``e_j = exp(z_j - reference)`` another class has
``p_j = scale * e_j``, and the top class ``1 - p = scale * sum(e)``. No digit is lost and nothing overflows,
however close to 1 the top p is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.bonuses import Bonus

# Class losses are scaled by this before they are summed: the sum then overflows only where the mean does, for
# any number of classes in use. A power of two costs no digit.
SUM_SCALE = 2.0**-32


class KernelOptions(NamedTuple):
    """What is the same for every row: q of the target and of every other class, class weights, the bonus."""

    on_target: float | Tensor  # a tensor for compiled code, of which a number would be a constant
    elsewhere: float | Tensor
    weight: Tensor | None  # (V), in the precision in which the logits are computed
    bonus: Bonus

    @property
    def is_smoothed(self) -> bool:
        """Whether every class has a part of the target."""
        return isinstance(self.elsewhere, Tensor) or self.elsewhere != 0

    @property
    def has_log_sums(self) -> bool:
        """Whether a smoothed target needs no more of a class than log(1-p) and the odds p / (1-p)."""
        return self.weight is None and (self.bonus.is_log_below_half or self.bonus.is_nothing)

    @property
    def log_weight(self) -> float | Tensor:
        """The weight of ``log(1-p)`` in a bonus that ``has_log_sums``."""
        return 0.0 if self.bonus.is_nothing else self.bonus.weight


class RowStats(NamedTuple):
    """Statistics of each row's logits, (n, 1) each; the sums are over every class but the top one."""

    top: Tensor  # the largest logit
    top_class: Tensor  # int64; any one in a tie
    reference: Tensor
    total: Tensor  # sum of e
    loss_sum: Tensor  # SUM_SCALE times the weighted sum of -log p + w b(p), if the target is smoothed
    neg_slope_sum: Tensor  # weighted sum of 1 - w p b'(p), likewise


class RowState(NamedTuple):
    """What the gradient of each row needs beside its logits, (n, 1) each."""

    top_class: Tensor
    reference: Tensor
    scale: Tensor
    grad_per_e: Tensor  # gradient of the classes other than top and target, divided by their e
    grad_top: Tensor
    grad_target: Tensor


def log_scales(top: Tensor, reference: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log(scale), and log p and log(1-p) of the top class: (n, 1) each, from :class:`RowStats`."""
    log_odds = total.log() + (reference - top)  # of 1-p to p
    log_top = F.logsigmoid(-log_odds)
    return reference - top + log_top, log_top, F.logsigmoid(log_odds)


class TopClass(NamedTuple):
    """The top class of each row, the only one whose p can exceed 1/2: (n, 1) each."""

    log_scale: Tensor  # p_j = scale * e_j for every other class
    scale: Tensor
    log_p: Tensor
    p: Tensor
    loss: Tensor  # -log p + w b(p)
    scaled_neg_slope: Tensor  # scale * (1 - w p b'(p)), finite where the factor itself is not


def top_class_of(top: Tensor, reference: Tensor, total: Tensor, bonus: Bonus) -> TopClass:
    """:class:`TopClass` from :class:`RowStats`; the bonus is 0 where every other class is excluded."""
    only_class = total == 0
    log_scale, log_p, log_1mp = log_scales(top, reference, total)
    scale, p = log_scale.exp(), log_p.exp()
    scaled_neg_slope = (scale + bonus.bonus_grad(p, total, scale)).masked_fill(only_class, 0)
    loss = bonus(log_p, log_1mp.masked_fill(only_class, 0)).masked_fill(only_class, 0) - log_p
    return TopClass(log_scale, scale, log_p, p, loss, scaled_neg_slope)


def log_bonus_sums(
    distance_sum: Tensor,
    log_1mp_sum: Tensor,
    odds_sum: Tensor,
    others: int,
    log_scale: Tensor,
    options: KernelOptions,
) -> tuple[Tensor, Tensor]:
    """``loss_sum`` and ``neg_slope_sum`` of :class:`RowStats` where ``options.has_log_sums``.

    Args:
        distance_sum: (n, 1), the sum of SUM_SCALE * (z - reference) over the ``others``.
        log_1mp_sum: (n, 1), their sum of log(1-p).
        odds_sum: (n, 1), their sum of p / (1-p).
        others: how many classes there are beside the top one.
        log_scale: (n, 1).
        options: see :class:`KernelOptions`.
    """
    weight = options.log_weight
    loss_sum = SUM_SCALE * weight * log_1mp_sum - distance_sum - others * (SUM_SCALE * log_scale)
    return loss_sum, others + weight * odds_sum


def losses(
    stats: RowStats, z_target: Tensor, target: Tensor, valid: Tensor, options: KernelOptions
) -> tuple[Tensor, Tensor, RowState]:
    """Loss of each row, and the state from which its gradient follows.

    Args:
        stats: of the rows' logits.
        z_target: (n, 1), the target's logit.
        target: (n, 1), class indices within range.
        valid: (n, 1), bool: the other rows are 0, whatever their logits.
        options: see :class:`KernelOptions`.

    Returns:
        (n, 1) losses and log p of the targets, NaN where the largest logit is not finite; the state.
    """
    bonus = options.bonus
    top, top_class, reference, total, loss_sum, neg_slope_sum = stats
    on_top = target == top_class
    log_scale, scale, log_top, p_top, loss_top, neg_slope_top = top_class_of(top, reference, total, bonus)

    e_target = (z_target - reference).masked_fill(on_top, 0)
    log_p = e_target + log_scale
    e_target = e_target.exp()
    p = (e_target * scale).masked_fill(on_top, 0)
    loss_target = torch.where(on_top, loss_top, bonus(log_p, (-p).log1p()) - log_p)
    neg_slope = 1 + bonus.bonus_grad(p, 1 - p)
    factor = torch.ones_like(p) if options.weight is None else options.weight[target]
    extra = (options.on_target - options.elsewhere) * factor  # q of the target beyond that of every class
    loss = extra * loss_target
    q_top = extra.masked_fill(~on_top, 0)
    other_slopes = (extra * neg_slope).masked_fill(on_top, 0)  # sum of q * neg_slope beside the top class
    if options.is_smoothed:
        weight_top = None if options.weight is None else options.weight[top_class]
        every_top = options.elsewhere if weight_top is None else options.elsewhere * weight_top
        loss = loss + options.elsewhere / SUM_SCALE * loss_sum + every_top * loss_top
        q_top = q_top + every_top
        other_slopes = other_slopes + options.elsewhere * neg_slope_sum
    grad_per_e = scale * other_slopes + q_top * neg_slope_top
    grad_top = p_top * other_slopes - q_top * total * neg_slope_top
    if options.is_smoothed:
        grad_target = e_target * grad_per_e - (extra + options.elsewhere * factor) * neg_slope
    else:
        grad_target = extra * neg_slope * (p - 1)
    grad_target = torch.where(on_top, grad_top, grad_target)

    finite = torch.where(top.isfinite(), 1.0, torch.nan).to(top.dtype)
    log_p = torch.where(on_top, log_top, log_p)
    loss, log_p, grad_per_e, grad_top, grad_target = (
        x * finite for x in (loss, log_p, grad_per_e, grad_top, grad_target)
    )
    reference = torch.where(top.isfinite(), reference, top)  # marks a row that is not finite
    loss, log_p, scale, grad_per_e, grad_top, grad_target = (
        x.masked_fill(~valid, 0) for x in (loss, log_p, scale, grad_per_e, grad_top, grad_target)
    )
    return loss, log_p, RowState(top_class, reference, scale, grad_per_e, grad_top, grad_target)
