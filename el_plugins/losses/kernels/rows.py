"""Encouraging loss of a chunk of rows, and its gradient in closed form.

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
from el_plugins.losses.checks import single_precision


class Terms(NamedTuple):
    """What is the same for every row: q of the target and of every other class, class weights, the bonus."""

    on_target: float
    elsewhere: float
    weight: Tensor | None  # (V), in the logits' dtype
    bonus: Bonus


class Extremes(NamedTuple):
    """The largest logit of each row and what lies beside it, (n, 1) each."""

    top: Tensor
    has_top: Tensor  # whether one class alone has it; of a tie every class counts as beside
    reference: Tensor
    total: Tensor  # sum of exp(z - reference) beside the top class


class RowState(NamedTuple):
    """What the gradient of each row needs beside its logits, (n, 1) each."""

    top: Tensor  # the top class' logit, which no logit equals (NaN) if there is a tie
    reference: Tensor
    scale: Tensor
    slope: Tensor  # of the classes beside top and target: their gradient by e_j
    at_top: Tensor
    at_target: Tensor


def losses(
    z: Tensor, target: Tensor, kept: Tensor, terms: Terms, apart: bool = False
) -> tuple[Tensor, Tensor, RowState, Tensor]:
    """Loss of each row, and the state from which :func:`gradient` goes on.

    Args:
        z: (n, V) logits, floating; narrow ones are computed in float32.
        target: (n, 1) class indices within range.
        kept: (n, 1), bool: rows that are not kept are 0, whatever their logits.
        terms: see :class:`Terms`.
        apart: refer to the largest logit beside the top one, not to the top one, which takes a pass more
            and is needed where the two lie so far apart that the exponentials of all others vanish.

    Returns:
        (n, 1) losses, NaN where the largest logit is not finite, (n, 1) log p of the targets, the state, and
        whether any row needs ``apart``.
    """
    z = single_precision(z).masked_fill(~kept, 0)
    top = z.amax(dim=1, keepdim=True)
    is_top = z == top
    ties = is_top.to(z.dtype).sum(dim=1, keepdim=True)
    has_top = ties == 1
    reference = top
    if apart:
        second = z.masked_fill(is_top, -torch.inf).amax(dim=1, keepdim=True)
        reference = torch.where(has_top & (second != -torch.inf), second, top)
    distance = (z - reference).masked_fill(is_top, -torch.inf)
    e = distance.exp()
    total = e.sum(dim=1, keepdim=True) + ties.masked_fill(has_top, 0)
    found = Extremes(top, has_top, reference, total)
    on_top = (z.gather(1, target) == top) & has_top
    sums, weight_top = None, None
    if terms.elsewhere:
        sums = sums_beside_top(distance, e, is_top, ties, found, terms)
        if terms.weight is not None:
            weight_top = (is_top * terms.weight).sum(dim=1, keepdim=True)
    loss, log_p, state = finish(found, z.gather(1, target), target, on_top, kept, sums, weight_top, terms)
    vanished = (total < 2**27 * torch.finfo(z.dtype).tiny) & has_top & kept
    return loss, log_p, state, vanished.any()


def scales(found: Extremes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log(scale), scale, and log p and log(1-p) of the top class: (n, 1) each."""
    odds = found.total.log() + (found.reference - found.top)
    log_top = F.logsigmoid(-odds)
    log_scale = torch.where(found.has_top, found.reference - found.top + log_top, -found.total.log())
    return log_scale, log_scale.exp(), log_top, F.logsigmoid(odds)


def finish(
    found: Extremes,
    z_target: Tensor,
    target: Tensor,
    on_top: Tensor,
    kept: Tensor,
    sums: tuple[Tensor, Tensor] | None,
    weight_top: Tensor | None,
    terms: Terms,
) -> tuple[Tensor, Tensor, RowState]:
    """What :func:`losses` returns, from figures of each row alone: (n, 1) each.

    Args:
        found: the row's extremes.
        z_target: the target's logit.
        target, kept, terms: as in :func:`losses`.
        on_top: whether the target is the top class.
        sums: see :func:`sums_beside_top`; None for a target that is not smoothed.
        weight_top: the top class' weight, if there are sums and weights.
    """
    bonus = terms.bonus
    top, has_top, reference, total = found
    alone = total == 0  # no class beside the top one that counts: the bonus is 0
    log_scale, scale, log_top, log_rest = scales(found)
    p_top = log_top.exp()
    # The gain 1 - w p b'(p) of the top class, times scale: finite where the gain is not.
    gain_top = (scale + bonus.pull(p_top, total, scale)).masked_fill(alone, 0)
    term_top = bonus(log_top, log_rest.masked_fill(alone, 0)).masked_fill(alone, 0) - log_top

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
    if sums is not None:
        every_top = has_top.to(p.dtype) if weight_top is None else weight_top.masked_fill(~has_top, 0)
        loss = loss + terms.elsewhere * (sums[0] + torch.where(has_top, every_top * term_top, 0))
        share_top = share_top + terms.elsewhere * every_top
        rest = rest + terms.elsewhere * sums[1]
    slope = scale * rest + share_top * gain_top
    at_top = p_top * rest - share_top * total * gain_top
    if sums is not None:
        at_target = e_target * slope - (extra + terms.elsewhere * factor) * gain
    else:
        at_target = extra * gain * (p - 1)
    at_target = torch.where(on_top, at_top, at_target)
    finite = torch.where(top.isfinite(), 1.0, torch.nan).to(top.dtype)
    top_or_nan = torch.where(has_top, top, torch.nan)
    state = RowState(top_or_nan, reference, scale, slope * finite, at_top * finite, at_target * finite)
    log_p = torch.where(on_top, log_top, log_p).masked_fill(~kept, 0)
    return (loss * finite).masked_fill(~kept, 0), log_p, state


def sums_beside_top(
    distance: Tensor, e: Tensor, is_top: Tensor, ties: Tensor, found: Extremes, terms: Terms
) -> tuple[Tensor, Tensor]:
    """Weighted sums of -log p + w b(p), and of gains, over the classes beside the top one: (n, 1) each.

    Classes that tie are beside: ``distance`` and ``e`` leave them out, and their p is ``scale``.
    """
    bonus = terms.bonus
    log_scale, scale, _, _ = scales(found)
    tied = ties.masked_fill(found.has_top, 0)
    if terms.weight is None and bonus.is_log_below_half:
        p = e * scale
        rest = 1 - p
        distances = distance.masked_fill(is_top, 0).sum(1, keepdim=True)
        # Probabilities of at most 1/2 that sum to at most 1: the product stays above 1/4.
        log_rest = rest.prod(1, keepdim=True).log() + torch.where(tied > 0, tied * (-scale).log1p(), 0)
        pulls = (p / rest).sum(1, keepdim=True) + torch.where(tied > 0, tied * scale / (1 - scale), 0)
        return plain_sums(distances, log_rest, pulls, p.size(1), found.has_top, log_scale, bonus)
    hidden = is_top & found.has_top
    log_p = torch.where(is_top, torch.zeros_like(distance), distance) + log_scale
    p = log_p.exp().masked_fill(hidden, 0)
    values, gains = bonus(log_p, (-p).log1p()) - log_p, 1 + bonus.pull(p, 1 - p)
    if terms.weight is not None:
        values, gains = values * terms.weight, gains * terms.weight
    return tuple(x.masked_fill(hidden, 0).sum(1, keepdim=True) for x in (values, gains))  # type: ignore[return-value]


def plain_sums(
    distances: Tensor,
    log_rest: Tensor,
    pulls: Tensor,
    classes: int,
    has_top: Tensor,
    log_scale: Tensor,
    bonus: Bonus,
) -> tuple[Tensor, Tensor]:
    """:func:`sums_beside_top` of an unweighted log bonus, given sums of z - reference, log(1-p), p/(1-p)."""
    weight = bonus.weight if bonus.is_log_below_half else 0.0
    count = classes - has_top.to(log_scale.dtype)
    return weight * log_rest - distances - count * log_scale, count + weight * pulls


def gradient(z: Tensor, kept: Tensor, terms: Terms, state: RowState, upstream: Tensor) -> Tensor:
    """Gradient of the rows' losses times ``upstream``, (n, 1): (n, V) in z's dtype, rounded once.

    All but the targets', whose gradient is ``state.at_target * upstream``.
    """
    dtype = z.dtype
    z = single_precision(z).masked_fill(~kept, 0)
    upstream = upstream.masked_fill(~kept, 0)
    e = (z - state.reference).exp()
    gradient = e * (state.slope * upstream)
    if terms.elsewhere:
        p = e * state.scale
        gains = 1 + terms.bonus.pull(p, 1 - p)
        gains = gains if terms.weight is None else gains * terms.weight
        gradient = gradient - gains * (terms.elsewhere * upstream)
    return torch.where(z == state.top, state.at_top * upstream, gradient).to(dtype)
