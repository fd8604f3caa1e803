"""Encouraging loss of a chunk of rows, and its gradient in closed form.

With q the smoothed target and b the bonus a row's gradient is ``s_j - p_j sum(s)``, where
``s_i = q_i (-1 + w p_i b'(p_i)) = -q_i gain_i``. Everything is taken relative to the largest logit *beside*
the top class: ``p_j = scale * e_j`` with ``e_j = exp(z_j - second)`` for every class but the top one, whose
``1 - p`` is ``scale * sum(e)``. No digit is lost and nothing overflows, however close to 1 the top one comes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.checks import is_compiling, single_precision


class Terms(NamedTuple):
    """What is the same for every row: q of the target and of every other class, class weights, the bonus."""

    on_target: float
    elsewhere: float
    weight: Tensor | None  # (V), in the logits' dtype
    bonus: Bonus


class RowState(NamedTuple):
    """What :func:`gradient` needs of each row beside its logits, (n, 1) each."""

    top: Tensor
    second: Tensor
    scale: Tensor
    slope: Tensor  # of the classes beside top and target: their gradient by e_j
    at_top: Tensor
    at_target: Tensor


class Extremes(NamedTuple):
    """The two largest logits of each row and what lies beside the top one, (n, 1) each."""

    top: Tensor
    top_class: Tensor
    second: Tensor  # the largest logit beside the top class; -inf where there is none
    total: Tensor  # sum of exp(z - second) beside the top class

    def settled(self) -> Extremes:
        """With the top one for ``second`` where no class is left beside it."""
        return self._replace(second=torch.where(self.second == -torch.inf, self.top, self.second))


def losses(z: Tensor, target: Tensor, kept: Tensor, terms: Terms) -> tuple[Tensor, Tensor, RowState]:
    """Loss of each row, and the state from which :func:`gradient` goes on.

    Args:
        z: (n, V) logits, floating; narrow ones are computed in float32.
        target: (n, 1) class indices within range.
        kept: (n, 1), bool: rows that are not kept are 0, whatever their logits.
        terms: see :class:`Terms`.

    Returns:
        (n, 1) losses, NaN where the largest logit is not finite, (n, 1) log p of the targets, and the state.
    """
    z = single_precision(z).masked_fill(~kept, 0)
    top, top_class = z.max(dim=1, keepdim=True)
    others = fill(z, top_class, -torch.inf)
    found = Extremes(top, top_class, others.amax(dim=1, keepdim=True), top).settled()
    distance = others - found.second
    e = distance.exp()
    found = found._replace(total=e.sum(dim=1, keepdim=True))
    sums = sums_beside_top(distance, e, found, terms) if terms.elsewhere else None
    return finish(found, z.gather(1, target), target, kept, sums, terms)


def scales(found: Extremes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log(scale), scale, and log p and log(1-p) of the top class: (n, 1) each."""
    odds = found.total.log() + (found.second - found.top)
    log_top = F.logsigmoid(-odds)
    log_scale = found.second - found.top + log_top
    return log_scale, log_scale.exp(), log_top, F.logsigmoid(odds)


def finish(
    found: Extremes,
    z_target: Tensor,
    target: Tensor,
    kept: Tensor,
    sums: tuple[Tensor, Tensor] | None,
    terms: Terms,
) -> tuple[Tensor, Tensor, RowState]:
    """What :func:`losses` returns, from figures of each row alone: (n, 1) each.

    Args:
        found: the row's extremes, settled.
        z_target: the target's logit.
        target, kept, terms: as in :func:`losses`.
        sums: see :func:`sums_beside_top`; None for a target that is not smoothed.
    """
    bonus = terms.bonus
    top, top_class, second, total = found
    alone = total == 0  # no class beside the top one, or none that counts: the bonus is 0
    log_scale, scale, log_top, log_rest = scales(found)
    p_top = log_top.exp()
    # The gain 1 - w p b'(p) of the top class, times scale: finite where the gain is not.
    gain_top = (scale + bonus.pull(p_top, total, scale)).masked_fill(alone, 0)
    term_top = bonus(log_top, log_rest.masked_fill(alone, 0)).masked_fill(alone, 0) - log_top

    on_top = target == top_class
    e_target = (z_target - second).masked_fill(on_top, 0)
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
        weight_top = 1.0 if terms.weight is None else terms.weight[top_class]
        loss = loss + terms.elsewhere * (sums[0] + weight_top * term_top)
        share_top = share_top + terms.elsewhere * weight_top
        rest = rest + terms.elsewhere * sums[1]
    slope = scale * rest + share_top * gain_top
    at_top = p_top * rest - share_top * total * gain_top
    if sums is not None:
        at_target = e_target * slope - (extra + terms.elsewhere * factor) * gain
    else:
        at_target = extra * gain * (p - 1)
    at_target = torch.where(on_top, at_top, at_target)
    finite = torch.where(top.isfinite(), 1.0, torch.nan).to(top.dtype)
    state = RowState(top_class, second, scale, slope * finite, at_top * finite, at_target * finite)
    log_p = torch.where(on_top, log_top, log_p).masked_fill(~kept, 0)
    return (loss * finite).masked_fill(~kept, 0), log_p, state


def sums_beside_top(distance: Tensor, e: Tensor, found: Extremes, terms: Terms) -> tuple[Tensor, Tensor]:
    """Weighted sums of -log p + w b(p), and of gains, over the classes beside the top one: (n, 1) each."""
    bonus = terms.bonus
    log_scale, scale, _, _ = scales(found)
    p = e * scale
    if terms.weight is None and bonus.is_log_below_half:
        rest = 1 - p
        distances = fill(distance, found.top_class, 0).sum(1, keepdim=True)
        # Probabilities of at most 1/2 that sum to at most 1: the product stays above 1/4.
        log_rest = rest.prod(1, keepdim=True).log()
        return plain_sums(distances, log_rest, (p / rest).sum(1, keepdim=True), p.size(1), log_scale, bonus)
    log_p = distance + log_scale
    values, gains = bonus(log_p, (-p).log1p()) - log_p, 1 + bonus.pull(p, 1 - p)
    if terms.weight is not None:
        values, gains = values * terms.weight, gains * terms.weight
    return tuple(fill(x, found.top_class, 0).sum(1, keepdim=True) for x in (values, gains))  # type: ignore[return-value]


def plain_sums(
    distances: Tensor, log_rest: Tensor, pulls: Tensor, classes: int, log_scale: Tensor, bonus: Bonus
) -> tuple[Tensor, Tensor]:
    """:func:`sums_beside_top` of an unweighted log bonus, from the sums of z - second, log(1-p), p/(1-p)."""
    weight = bonus.weight if bonus.is_log_below_half else 0.0
    count = classes - 1
    return weight * log_rest - distances - count * log_scale, count + weight * pulls


def gradient(
    z: Tensor, target: Tensor, kept: Tensor, terms: Terms, state: RowState, upstream: Tensor
) -> Tensor:
    """Gradient of the rows' losses times ``upstream``, (n, 1): (n, V) in z's dtype, rounded once."""
    dtype = z.dtype
    z = single_precision(z).masked_fill(~kept, 0)
    upstream = upstream.masked_fill(~kept, 0)
    e = (z - state.second).exp()
    gradient = e * (state.slope * upstream)
    if terms.elsewhere:
        p = e * state.scale
        gains = 1 + terms.bonus.pull(p, 1 - p)
        gains = gains if terms.weight is None else gains * terms.weight
        gradient = gradient - gains * (terms.elsewhere * upstream)
    gradient = fill(gradient, target, state.at_target * upstream)
    return fill(gradient, state.top, state.at_top * upstream).to(dtype)


def fill(x: Tensor, index: Tensor, value: Tensor | float) -> Tensor:
    """``x``, (n, V), with ``value``, a number or (n, 1), in the column ``index``, (n, 1), of each row."""
    if is_compiling():  # this fuses, a scatter does not
        return torch.where(torch.arange(x.size(1), device=x.device) == index, value, x)
    return x.scatter(1, index, value)
