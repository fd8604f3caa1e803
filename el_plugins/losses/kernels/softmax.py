"""Encouraging loss of a row, and its gradient in closed form, from a few figures of the row's logits.

With q the smoothed target and b the bonus a row's gradient is ``s_j - p_j sum(s)``, where
``s_i = q_i (-1 + w p_i b'(p_i)) = -q_i gain_i``. The top class, the only one whose p can pass 1/2, is kept
apart: with ``e_j = exp(z_j - reference)`` every other class has ``p_j = scale * e_j`` and the top class
``1 - p = scale * sum(e)``. No digit is lost and nothing overflows, however close to 1 the top one comes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.bonuses import Bonus

# Values are summed in shares of this size: over more classes than anyone has a sum of shares overflows only
# where the mean does. A power of two costs no digit.
SHARE = 2.0**-32


class Terms(NamedTuple):
    """What is the same for every row: q of the target and of every other class, class weights, the bonus."""

    on_target: float
    elsewhere: float
    weight: Tensor | None  # (V), in the logits' dtype
    bonus: Bonus

    @property
    def are_plain(self) -> bool:
        """Whether all that a smoothed target needs of a class is its p / (1-p) and log(1-p)."""
        return self.weight is None and (self.bonus.is_log_below_half or self.bonus.is_nothing)

    @property
    def bonus_below_half(self) -> float | Tensor:
        """The weight of ``log(1-p)`` in a plain bonus."""
        return 0.0 if self.bonus.is_nothing else self.bonus.weight


class Figures(NamedTuple):
    """What is measured of each row's logits, (n, 1) each; the sums run over every class but the top one."""

    top: Tensor  # the largest logit
    top_class: Tensor  # int64; of a tie any
    reference: Tensor
    total: Tensor  # sum of e
    values: Tensor  # SHARE times the weighted sum of -log p + w b(p), if the target is smoothed
    gains: Tensor  # weighted sum of gains, likewise


class RowState(NamedTuple):
    """What the gradient of each row needs beside its logits, (n, 1) each."""

    top_class: Tensor
    reference: Tensor
    scale: Tensor
    slope: Tensor  # of the classes beside top and target: their gradient by e_j
    at_top: Tensor
    at_target: Tensor


def scales(top: Tensor, reference: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log(scale), and log p and log(1-p) of the top class: (n, 1) each, of figures in (n, 1)."""
    odds = total.log() + (reference - top)
    log_top = F.logsigmoid(-odds)
    return reference - top + log_top, log_top, F.logsigmoid(odds)


class TopClass(NamedTuple):
    """The top class of each row, whose p alone can pass 1/2: (n, 1) each."""

    log_scale: Tensor  # p_j = scale * e_j for every other class
    scale: Tensor
    log_p: Tensor
    p: Tensor
    term: Tensor  # -log p + w b(p)
    gain: Tensor  # scale * (1 - w p b'(p)), finite where the gain itself is not


def top_class_of(top: Tensor, reference: Tensor, total: Tensor, bonus: Bonus) -> TopClass:
    """:class:`TopClass` of :class:`Figures`; without another class that counts the bonus is 0."""
    alone = total == 0
    log_scale, log_p, log_1mp = scales(top, reference, total)
    scale, p = log_scale.exp(), log_p.exp()
    gain = (scale + bonus.pull(p, total, scale)).masked_fill(alone, 0)
    term = bonus(log_p, log_1mp.masked_fill(alone, 0)).masked_fill(alone, 0) - log_p
    return TopClass(log_scale, scale, log_p, p, term, gain)


def plain_sums(
    distances: Tensor, log_rest: Tensor, pulls: Tensor, others: int, log_scale: Tensor, terms: Terms
) -> tuple[Tensor, Tensor]:
    """Values and gains of :class:`Figures` of plain terms, (n, 1) each.

    ``distances``, ``log_rest`` and ``pulls`` are the sums of SHARE (z - reference), log(1-p) and p / (1-p)
    over the ``others``, all classes but the top one.
    """
    weight = terms.bonus_below_half
    values = SHARE * weight * log_rest - distances - others * (SHARE * log_scale)
    return values, others + weight * pulls


def losses(
    figures: Figures, z_target: Tensor, target: Tensor, kept: Tensor, terms: Terms
) -> tuple[Tensor, Tensor, RowState]:
    """Loss of each row, and the state from which its gradient follows.

    Args:
        figures: what was measured of the logits.
        z_target: (n, 1), the target's logit.
        target: (n, 1), class indices within range.
        kept: (n, 1), bool: rows that are not kept are 0, whatever their logits.
        terms: see :class:`Terms`.

    Returns:
        (n, 1) losses, NaN where the largest logit is not finite; (n, 1) log p of the targets; the state.
    """
    bonus = terms.bonus
    top, top_class, reference, total, values, gains = figures
    on_top = target == top_class
    log_scale, scale, log_top, p_top, term_top, gain_top = top_class_of(top, reference, total, bonus)

    e_target = (z_target - reference).masked_fill(on_top, 0)
    log_p = e_target + log_scale
    e_target = e_target.exp()
    p = (e_target * scale).masked_fill(on_top, 0)
    term = torch.where(on_top, term_top, bonus(log_p, (-p).log1p()) - log_p)
    gain = 1 + bonus.pull(p, 1 - p)
    factor = torch.ones_like(p) if terms.weight is None else terms.weight[target]
    extra = (terms.on_target - terms.elsewhere) * factor  # q of the target, beyond what every class has
    loss = extra * term
    share_top = extra.masked_fill(~on_top, 0)
    rest = (extra * gain).masked_fill(on_top, 0)
    if terms.elsewhere:
        every_top = terms.elsewhere if terms.weight is None else terms.elsewhere * terms.weight[top_class]
        loss = loss + terms.elsewhere / SHARE * values + every_top * term_top
        share_top = share_top + every_top
        rest = rest + terms.elsewhere * gains
    slope = scale * rest + share_top * gain_top
    at_top = p_top * rest - share_top * total * gain_top
    if terms.elsewhere:
        at_target = e_target * slope - (extra + terms.elsewhere * factor) * gain
    else:
        at_target = extra * gain * (p - 1)
    at_target = torch.where(on_top, at_top, at_target)

    finite = torch.where(top.isfinite(), 1.0, torch.nan).to(top.dtype)
    loss, slope, at_top, at_target = (x * finite for x in (loss, slope, at_top, at_target))
    log_p = torch.where(on_top, log_top, log_p)
    reference = torch.where(top.isfinite(), reference, top)  # says that a row is broken
    loss, log_p, scale, slope, at_top, at_target = (
        x.masked_fill(~kept, 0) for x in (loss, log_p, scale, slope, at_top, at_target)
    )
    return loss, log_p, RowState(top_class, reference, scale, slope, at_top, at_target)
