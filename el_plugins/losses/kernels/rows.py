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

FOLDS = 5  # 2**5 factors of at least 1/2 multiply without underflow


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
    bonus = terms.bonus
    z = single_precision(z).masked_fill(~kept, 0)
    top, top_class = z.max(dim=1, keepdim=True)
    others = fill(z, top_class, -torch.inf)
    second = others.amax(dim=1, keepdim=True)
    alone = second == -torch.inf  # no other class left: the bonus is 0
    second = torch.where(alone, top, second)
    distance = others - second
    e = distance.exp()
    total = e.sum(dim=1, keepdim=True)
    odds = total.log() + (second - top)
    log_top, log_rest = F.logsigmoid(-odds), F.logsigmoid(odds)
    log_scale = second - top + log_top
    p_top, scale = log_top.exp(), log_scale.exp()
    # The gain 1 - w p b'(p) of the top class, times scale: finite where the gain is not.
    gain_top = (scale + bonus.pull(p_top, total, scale)).masked_fill(alone, 0)
    term_top = bonus(log_top, log_rest.masked_fill(alone, 0)).masked_fill(alone, 0) - log_top

    on_top = target == top_class
    e_target = (z.gather(1, target) - second).masked_fill(on_top, 0)
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
        weight_top = 1.0 if terms.weight is None else terms.weight[top_class]
        sum_terms, sum_gains = sums_beside_top(distance, e, log_scale, scale, top_class, terms)
        loss = loss + terms.elsewhere * (sum_terms + weight_top * term_top)
        share_top = share_top + terms.elsewhere * weight_top
        rest = rest + terms.elsewhere * sum_gains
    slope = scale * rest + share_top * gain_top
    at_top = p_top * rest - share_top * total * gain_top
    if terms.elsewhere:
        at_target = e_target * slope - (extra + terms.elsewhere * factor) * gain
    else:
        at_target = extra * gain * (p - 1)
    at_target = torch.where(on_top, at_top, at_target)
    finite = torch.where(top.isfinite(), 1.0, torch.nan).to(z.dtype)
    state = RowState(top_class, second, scale, slope * finite, at_top * finite, at_target * finite)
    log_p = torch.where(on_top, log_top, log_p).masked_fill(~kept, 0)
    return (loss * finite).masked_fill(~kept, 0), log_p, state


def sums_beside_top(
    distance: Tensor, e: Tensor, log_scale: Tensor, scale: Tensor, top_class: Tensor, terms: Terms
) -> tuple[Tensor, Tensor]:
    """Weighted sums of -log p + w b(p), and of gains, over the classes beside the top one: (n, 1) each."""
    bonus = terms.bonus
    p = e * scale
    if terms.weight is None and bonus.is_log_below_half:
        rest = 1 - p
        count = p.size(1) - 1
        cross_entropies = -fill(distance, top_class, 0).sum(1, keepdim=True) - count * log_scale
        return (
            cross_entropies + bonus.weight * sum_of_logs(rest),
            count + bonus.weight * (p / rest).sum(1, keepdim=True),
        )
    log_p = distance + log_scale
    values, gains = bonus(log_p, (-p).log1p()) - log_p, 1 + bonus.pull(p, 1 - p)
    if terms.weight is not None:
        values, gains = values * terms.weight, gains * terms.weight
    return tuple(fill(x, top_class, 0).sum(1, keepdim=True) for x in (values, gains))  # type: ignore[return-value]


def sum_of_logs(factors: Tensor) -> Tensor:
    """Sum over dim 1 of the logarithms of (n, V) ``factors`` from 1/2 to 1, with one logarithm for many."""
    if is_compiling():  # a vectorised logarithm is cheaper than another pass
        return factors.log().sum(1, keepdim=True)
    for _ in range(FOLDS):
        half = factors.size(1) // 2
        if half == 0:
            break
        product = factors[:, :half] * factors[:, half : 2 * half]
        if factors.size(1) % 2:
            product[:, :1] *= factors[:, -1:]
        factors = product
    return factors.log().sum(1, keepdim=True)


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
