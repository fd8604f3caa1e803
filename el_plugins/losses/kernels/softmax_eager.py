"""What needs every logit of a row, by torch operations as they are or through torch.compile.

The mathematics row by row is in :mod:`softmax`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.numerics import single_precision


class Exponentials(NamedTuple):
    """The logits of rows relative to the reference: (n, V) the first two, the others (n, 1)."""

    distance: Tensor  # 0 at the top class
    e: Tensor  # exp of it; 0 at the top class, and where ``tied`` counts a class
    top: Tensor
    top_class: Tensor
    reference: Tensor
    tied: Tensor  # other classes as large as the top one, not in e


def row_stats(
    z: Tensor,
    options: softmax.KernelOptions,
    columns: Tensor | None = None,
    relative_to_second: bool = False,
) -> softmax.RowStats:
    """The statistics of some rows; arguments are those of :func:`exponentials` and ``options``."""
    return stats_of(exponentials(z, columns, relative_to_second), options)


def exponentials(z: Tensor, columns: Tensor | None = None, relative_to_second: bool = False) -> Exponentials:
    """The exponentials of some rows.

    Args:
        z: (n, V) logits, floating; narrow ones are computed in float32.
        columns: 0 to V-1 in the statistics' dtype, for a compiler, which fuses the search for the top class
            into one pass with them; plain operations are faster without.
        relative_to_second: take the second largest logit as reference, not the largest. This costs another
            pass, and is needed where the gap between the two makes all other exponentials vanish.
    """
    z = single_precision(z)
    if columns is None:
        top, top_class = z.max(dim=1, keepdim=True)
        reference = top
        if relative_to_second:
            second = z.scatter(1, top_class, -torch.inf).amax(dim=1, keepdim=True)
            reference = torch.where(second == -torch.inf, top, second)
        distance = (z - reference).scatter_(1, top_class, 0)
        e = distance.exp().scatter_(1, top_class, 0)
        return Exponentials(distance, e, top, top_class, reference, torch.zeros_like(top))
    reference = top = z.amax(dim=1, keepdim=True)
    distance = z - top
    is_top = distance == 0
    first = torch.where(is_top, columns, float(z.size(1))).amin(dim=1, keepdim=True)
    top_class = first.clamp(max=z.size(1) - 1).long()  # there is none if the top is not finite
    tied = is_top.to(z.dtype).sum(dim=1, keepdim=True) - 1
    if relative_to_second:
        is_top, tied = columns == first, torch.zeros_like(top)
        second = torch.where(is_top, -torch.inf, z).amax(dim=1, keepdim=True)
        reference = torch.where(second == -torch.inf, top, second)
        distance = torch.where(is_top, 0, z - reference)
    e = torch.where(is_top, 0, distance.exp())
    return Exponentials(distance, e, top, top_class, reference, tied)


def stats_of(parts: Exponentials, options: softmax.KernelOptions) -> softmax.RowStats:
    """The statistics of rows from ``parts``, which are overwritten."""
    distance, e, top, top_class, reference, tied = parts
    classes = e.size(1)
    total = e.sum(dim=1, keepdim=True) + tied
    loss_sum = neg_slope_sum = torch.zeros_like(top)
    if options.is_smoothed:
        log_scale, _, _ = softmax.log_scales(top, reference, total)
        if options.has_log_sums:
            scale = log_scale.exp()
            p = e.mul_(scale)
            one_minus_p = 1 - p
            # Probabilities of at most 1/2 that sum to at most 1: the product stays above 1/4.
            log_1mp_sum = one_minus_p.prod(dim=1, keepdim=True).log()
            log_1mp_sum = log_1mp_sum + torch.where(tied > 0, tied * (-scale).log1p(), 0)
            odds_sum = p.div_(one_minus_p).sum(dim=1, keepdim=True)
            odds_sum = odds_sum + torch.where(tied > 0, tied * scale / (1 - scale), 0)
            distance_sum = distance.mul_(softmax.SUM_SCALE).sum(dim=1, keepdim=True)
            loss_sum, neg_slope_sum = softmax.log_bonus_sums(
                distance_sum, log_1mp_sum, odds_sum, classes - 1, log_scale, options
            )
        else:
            is_top = torch.arange(classes, device=e.device) == top_class
            loss_sum, neg_slope_sum = any_bonus_sums(distance + log_scale, is_top, options)
    return softmax.RowStats(top, top_class, reference, total, loss_sum, neg_slope_sum)


def any_bonus_sums(log_p: Tensor, is_top: Tensor, options: softmax.KernelOptions) -> tuple[Tensor, Tensor]:
    """``loss_sum`` and ``neg_slope_sum`` of :class:`softmax.RowStats` for any bonus and weights.

    Args:
        log_p: (n, V).
        is_top: (n, V), bool.
        options: see :class:`softmax.KernelOptions`.
    """
    p = log_p.exp().masked_fill(is_top, 0)
    class_losses = options.bonus(log_p, (-p).log1p()) - log_p
    neg_slopes = 1 + options.bonus.bonus_grad(p, 1 - p)
    class_losses = class_losses * softmax.SUM_SCALE
    if options.weight is not None:
        class_losses, neg_slopes = class_losses * options.weight, neg_slopes * options.weight
    loss_sum, neg_slope_sum = (
        x.masked_fill(is_top, 0).sum(dim=1, keepdim=True) for x in (class_losses, neg_slopes)
    )
    return loss_sum, neg_slope_sum


def gradient_of_others(
    output: Tensor,
    z: Tensor,
    options: softmax.KernelOptions,
    state: softmax.RowState,
    grad_output: Tensor,
    smoothing_grad: Tensor,
    zero_rows: Tensor | None = None,
) -> None:
    """Write the gradient of all classes but the rows' top classes and targets.

    Args:
        output: (n, V), written to; may be ``z``.
        z: (n, V) logits, floating.
        options: see :class:`softmax.KernelOptions`.
        state: of the rows.
        grad_output: (n, 1).
        smoothing_grad: (n, 1), ``grad_output`` times q of a class that is not the target.
        zero_rows: (n, 1), bool: rows whose gradient is 0 whatever they hold.
    """
    e = (single_precision(z) - state.reference).exp_()
    result = gradient_of(e, options, state, grad_output, smoothing_grad)
    output.copy_(result if zero_rows is None else result.masked_fill_(zero_rows, 0))


def gradient_of(
    e: Tensor,
    options: softmax.KernelOptions,
    state: softmax.RowState,
    grad_output: Tensor,
    smoothing_grad: Tensor | float,
) -> Tensor:
    """The gradient of all classes but top and target from their exponentials, which are overwritten."""
    if not options.is_smoothed:
        return e.mul_(state.grad_per_e * grad_output)
    p = e * state.scale
    if options.has_log_sums:
        bonus_grad = p.div_(1 - p).mul_(options.log_weight)
    else:
        bonus_grad = options.bonus.bonus_grad(p, 1 - p)
    smoothed = (1 + bonus_grad).mul_(smoothing_grad)
    smoothed = smoothed if options.weight is None else smoothed * options.weight
    return e.mul_(state.grad_per_e * grad_output).sub_(smoothed)
