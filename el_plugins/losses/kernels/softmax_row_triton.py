"""The mathematics of a row of :mod:`softmax` in Triton, for several rows at once: (rows,) in float32 each.

Names, and why nothing overflows or loses digits, are as there.
"""

from __future__ import annotations

import triton
import triton.language as tl

from el_plugins.losses.kernels.bonus_triton import bonus_slope, bonus_value, exp, log1p, neg_slope, reciprocal


@triton.jit
def scale_of(top, reference, total):
    """``scale``: p_j = scale * e_j for every class but the top one."""
    ratio = exp(reference - top)
    return ratio * reciprocal(1 + total * ratio)


@triton.jit
def top_class_of(
    top, reference, total, bonus_weight, edge, shift, rate, eps, log_eps, BONUS: tl.constexpr,
    TANGENT: tl.constexpr,
):  # fmt: skip
    """``log_p, p, loss, scaled_neg_slope`` of the top class."""
    only_class = total == 0
    gap = reference - top
    scale = scale_of(top, reference, total)
    odds = total * exp(gap)  # of 1-p to p
    log_p = -log1p(odds)
    p = reciprocal(1 + odds)
    log_1mp = tl.where(only_class, 0.0, tl.log(total) + gap + log_p)
    value = bonus_value(p, log_1mp, total * scale, edge, shift, rate, log_eps, BONUS, TANGENT)
    loss = tl.where(only_class, 0.0, bonus_weight * value) - log_p
    slope = bonus_slope(p, total, scale, edge, rate, eps, BONUS, TANGENT)
    slope = tl.where(only_class, 0.0, scale + bonus_weight * slope)
    return log_p, p, loss, slope


@triton.jit
def row_results(
    z_target, on_top, q_extra, q_target, q_top, q_others, top, reference, total, scale, loss_sum, slope_sum,
    bonus_weight, edge, shift, rate, eps, log_eps, BONUS: tl.constexpr, TANGENT: tl.constexpr,
    BENT: tl.constexpr, SMOOTHED: tl.constexpr,
):  # fmt: skip
    """``loss, log_p, grad_per_e, grad_top, grad_target`` of rows.

    ``q_extra`` is q of the target beyond ``q_target``, its share of the smoothing, as ``q_top`` is the top
    class'; ``loss_sum`` and ``slope_sum`` are those of the other classes' shares, but for -log p of the top
    class, which is part of every -log p: ``q_others`` times.
    """
    log_top, p_top, loss_top, slope_top = top_class_of(
        top, reference, total, bonus_weight, edge, shift, rate, eps, log_eps, BONUS, TANGENT
    )
    log_p = z_target - top + log_top
    e = exp(z_target - reference)
    p = tl.where(on_top, 0.0, e * scale)
    value = bonus_value(p, tl.log(1 - p), 1 - p, edge, shift, rate, log_eps, BONUS, BENT)
    slope = neg_slope(p, bonus_weight, edge, rate, BONUS, BENT)
    loss = q_extra * tl.where(on_top, loss_top, bonus_weight * value - log_p)
    q_on_top = tl.where(on_top, q_extra, 0.0)
    other_slopes = tl.where(on_top, 0.0, q_extra * slope)  # sum of q * neg_slope beside the top class
    if SMOOTHED:
        loss += loss_sum - q_others * log_top + q_top * loss_top
        q_on_top += q_top
        other_slopes += slope_sum
    grad_per_e = scale * other_slopes + q_on_top * slope_top
    grad_top = p_top * other_slopes - q_on_top * total * slope_top
    grad_target = q_extra * slope * (p - 1)
    if SMOOTHED:
        grad_target = e * grad_per_e - (q_extra + q_target) * slope
    return loss, log_p, grad_per_e, grad_top, tl.where(on_top, grad_top, grad_target)


@triton.jit
def finish_rows(
    first, class_stride, here, there, valid, target, top_class, classes, top_weight, q_others, top, reference,
    total, scale, loss_sum, slope_sum, class_weight_ptr, loss_ptr, log_p_ptr, upstream_ptr, parts_ptr,
    upstream_stride, on_target, elsewhere, bonus_weight, edge, shift, rate, eps, log_eps,
    BONUS: tl.constexpr, TANGENT: tl.constexpr, BENT: tl.constexpr, SMOOTHED: tl.constexpr,
    PARTS: tl.constexpr,
):  # fmt: skip
    """Store losses and log p; ``factor, grad_per_e, grad_top, grad_target``, the latter times the factor."""
    known = valid & (target >= 0) & (target < classes)
    z_target = tl.load(first + target * class_stride, mask=known, other=-float("inf")).to(tl.float32)
    target_weight = tl.where(known, 1.0, 0.0)
    if class_weight_ptr is not None:
        target_weight = tl.load(class_weight_ptr + target, mask=known, other=0.0)
    loss, log_p, grad_per_e, grad_top, grad_target = row_results(
        z_target, target == top_class, (on_target - elsewhere) * target_weight, elsewhere * target_weight,
        elsewhere * top_weight, q_others, top, reference, total, scale, loss_sum, slope_sum, bonus_weight,
        edge, shift, rate, eps, log_eps, BONUS, TANGENT, BENT, SMOOTHED,
    )  # fmt: skip
    # NaN marks a row whose logits or target are none; that of an ignored row is replaced.
    factor = tl.where((tl.abs(top) < float("inf")) & (total == total) & known, 1.0, float("nan"))
    tl.store(log_p_ptr + here, tl.where(valid, log_p * factor, 0.0), mask=there)
    if parts_ptr is not None:
        count = tl.sum(tl.load(parts_ptr + tl.arange(0, PARTS)), 0)
        factor /= tl.where(count == 0, 1.0, count)
    tl.store(loss_ptr + here, tl.where(valid, loss * factor, 0.0), mask=there)
    if upstream_ptr is not None:
        factor *= tl.load(upstream_ptr + here * upstream_stride, mask=valid, other=0.0)
    factor = tl.where(valid, factor, 0.0)  # e of an ignored row is 0, and its other numbers are finite
    return factor, grad_per_e * factor, grad_top * factor, grad_target * factor


@triton.jit
def halves(x, AXIS: tl.constexpr, ROWS: tl.constexpr, HALF: tl.constexpr):
    """The first and the second HALF of ``x`` along AXIS."""
    if AXIS == 1:
        x = tl.permute(tl.reshape(x, (ROWS, 2, HALF)), (0, 2, 1))
    else:
        x = tl.permute(tl.reshape(x, (2, HALF, ROWS)), (1, 2, 0))
    return tl.split(x)


@triton.jit
def join_terms(product, slopes, e, scale, bonus_weight, edge, rate, BONUS: tl.constexpr, BENT: tl.constexpr):
    """``product`` times 1-p, and ``slopes`` plus the negative slopes, of as many classes."""
    p = e * scale
    return product * (1 - p), slopes + neg_slope(p, bonus_weight, edge, rate, BONUS, BENT)


@triton.jit
def log_bonus_sums(
    e, scale, bonus_weight, edge, rate, BONUS: tl.constexpr, BENT: tl.constexpr, AXIS: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, FOLDS: tl.constexpr,
):  # fmt: skip
    """For each row the logarithm of the product of all 1-p, and the sum of all negative slopes.

    Beside the top class the factors are probabilities of at least 1/2, whose product stays above 1/4: the
    2**FOLDS of them that a thread holds share one logarithm. A quarter of the row at a time, which barriers
    enforce, needs the fewest registers.
    """
    scale = tl.expand_dims(scale, AXIS)
    if FOLDS >= 2:
        one, other = halves(e, AXIS, ROWS, BLOCK // 2)
        first, second = halves(one, AXIS, ROWS, BLOCK // 4)
        third, fourth = halves(other, AXIS, ROWS, BLOCK // 4)
        product, slopes = join_terms(1.0, 0.0, first, scale, bonus_weight, edge, rate, BONUS, BENT)
        tl.debug_barrier()
        product, slopes = join_terms(product, slopes, second, scale, bonus_weight, edge, rate, BONUS, BENT)
        tl.debug_barrier()
        product, slopes = join_terms(product, slopes, third, scale, bonus_weight, edge, rate, BONUS, BENT)
        tl.debug_barrier()
        product, slopes = join_terms(product, slopes, fourth, scale, bonus_weight, edge, rate, BONUS, BENT)
        for step in tl.static_range(FOLDS - 2):
            one, other = halves(product, AXIS, ROWS, BLOCK >> (step + 3))
            product = one * other
            one, other = halves(slopes, AXIS, ROWS, BLOCK >> (step + 3))
            slopes = one + other
    else:
        product, slopes = join_terms(1.0, 0.0, e, scale, bonus_weight, edge, rate, BONUS, BENT)
    return tl.split(tl.sum(tl.join(tl.log(product), slopes), AXIS))
