"""The row kernels by torch operations, as they are or through torch.compile: what needs every logit.

The rest, row by row, is :mod:`softmax`' own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.validation import single_precision


def measure(
    z: Tensor, terms: softmax.Terms, columns: Tensor | None = None, apart: bool = False
) -> softmax.Figures:
    """The figures of some rows.

    Args:
        z: (n, V) logits, floating; narrow ones are computed in float32.
        terms: see :class:`softmax.Terms`.
        columns: 0 to V-1 in the figures' dtype, for a compiler, which makes one pass of what finds the top
            class by them; plain operations find it faster on their own.
        apart: refer to the largest logit beside the top one, not to the top one, which takes a pass more
            and is needed where the two lie so far apart that the exponentials of all others vanish.
    """
    z = single_precision(z)
    if columns is None:
        top, top_class = z.max(dim=1, keepdim=True)
        reference = top
        if apart:
            second = z.scatter(1, top_class, -torch.inf).amax(dim=1, keepdim=True)
            reference = torch.where(second == -torch.inf, top, second)
        distance = (z - reference).scatter_(1, top_class, 0)
        e = distance.exp().scatter_(1, top_class, 0)
        tied = torch.zeros_like(top)
    else:
        reference = top = z.amax(dim=1, keepdim=True)
        distance = z - top
        is_top = distance == 0
        first = torch.where(is_top, columns, float(z.size(1))).amin(dim=1, keepdim=True)
        top_class = first.clamp(max=z.size(1) - 1).long()  # there is none if the top is not finite
        tied = is_top.to(z.dtype).sum(dim=1, keepdim=True) - 1  # as large as the top one, left out of e
        if apart:
            is_top, tied = columns == first, torch.zeros_like(top)
            second = torch.where(is_top, -torch.inf, z).amax(dim=1, keepdim=True)
            reference = torch.where(second == -torch.inf, top, second)
            distance = torch.where(is_top, 0, z - reference)
        e = torch.where(is_top, 0, distance.exp())
    total = e.sum(dim=1, keepdim=True) + tied
    values = gains = torch.zeros_like(top)
    if terms.elsewhere:
        log_scale, _, _ = softmax.scales(top, reference, total)
        if terms.are_plain:
            scale = log_scale.exp()
            p = e.mul_(scale)
            rest = 1 - p
            # Probabilities of at most 1/2 that sum to at most 1: the product stays above 1/4.
            log_rest = rest.prod(dim=1, keepdim=True).log()
            log_rest = log_rest + torch.where(tied > 0, tied * (-scale).log1p(), 0)
            pulls = p.div_(rest).sum(dim=1, keepdim=True)
            pulls = pulls + torch.where(tied > 0, tied * scale / (1 - scale), 0)
            distances = distance.mul_(softmax.SHARE).sum(dim=1, keepdim=True)
            values, gains = softmax.plain_sums(distances, log_rest, pulls, z.size(1) - 1, log_scale, terms)
        else:
            is_top = torch.arange(z.size(1), device=z.device) == top_class
            values, gains = sums(distance + log_scale, is_top, terms)
    return softmax.Figures(top, top_class, reference, total, values, gains)


def sums(log_p: Tensor, is_top: Tensor, terms: softmax.Terms) -> tuple[Tensor, Tensor]:
    """Values and gains of :class:`softmax.Figures` for any bonus and weights, of (n, V) log p."""
    p = log_p.exp().masked_fill(is_top, 0)
    values, gains = terms.bonus(log_p, (-p).log1p()) - log_p, 1 + terms.bonus.pull(p, 1 - p)
    values = values * softmax.SHARE
    if terms.weight is not None:
        values, gains = values * terms.weight, gains * terms.weight
    values, gains = (x.masked_fill(is_top, 0).sum(dim=1, keepdim=True) for x in (values, gains))
    return values, gains


def gradient(
    output: Tensor,
    z: Tensor,
    terms: softmax.Terms,
    state: softmax.RowState,
    upstream: Tensor,
    share: Tensor,
    blank: Tensor | None = None,
) -> None:
    """Write the gradient of the rows' losses times ``upstream``, (n, 1), into ``output``, which may be ``z``.

    ``share`` is ``upstream`` times what a smoothed target gives every class; rows that are ``blank``, (n, 1),
    become 0 whatever they hold. Leaves out the top class and the target, whose gradients are ``at_top *
    upstream`` and ``at_target * upstream``.
    """
    e = (single_precision(z) - state.reference).exp_()
    if not terms.elsewhere:
        result = e.mul_(state.slope * upstream)
        output.copy_(result if blank is None else result.masked_fill_(blank, 0))
        return
    p = e * state.scale
    pulls = p.div_(1 - p).mul_(terms.bonus_below_half) if terms.are_plain else terms.bonus.pull(p, 1 - p)
    smoothed = (1 + pulls).mul_(share)
    smoothed = smoothed if terms.weight is None else smoothed * terms.weight
    result = e.mul_(state.slope * upstream).sub_(smoothed)
    output.copy_(result if blank is None else result.masked_fill_(blank, 0))
