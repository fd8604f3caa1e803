"""Encouraging loss and its gradient in one launch, for rows that do not fit into registers.

A pass over the row for its top class and the sum of the others, one for the sums of a smoothed target, and
one that writes the gradient. Threads keep their own state and combine it once, at the end of a pass.
"""

from __future__ import annotations

import triton
import triton.language as tl

from el_plugins.losses.kernels.bonus_triton import bonus_value, exp, neg_slope
from el_plugins.losses.kernels.softmax_row_triton import finish_rows, scale_of


@triton.jit
def extremes_of_row(places, classes, valid, BLOCK: tl.constexpr):
    """``top, top_class, reference, total`` of a row, the second class being the reference: (1,) each."""
    lowest: tl.constexpr = -3.4028234663852886e38
    top = tl.full((1, BLOCK), -float("inf"), tl.float32)
    top_class = tl.zeros((1, BLOCK), tl.int32)
    second = tl.full((1, BLOCK), lowest, tl.float32)
    total = tl.zeros((1, BLOCK), tl.float32)  # of exp(z - second) of all but the top class
    for start in range(0, classes, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        z = tl.load(places + column, mask=valid[:, None] & (column < classes), other=-float("inf")).to(
            tl.float32
        )
        is_larger = z > top
        loser = tl.where(is_larger, top, z)
        top_class = tl.where(is_larger, column, top_class)
        top = tl.where(is_larger, z, top)
        gap = second - loser
        shrunk = exp(-tl.abs(gap))
        total = tl.where(gap < 0, total * shrunk + 1, total + shrunk)  # NaN stays
        second = tl.maximum(second, loser)
    row_top = tl.max(top, 1)
    is_top = top == row_top[:, None]
    row_class = tl.min(tl.where(is_top, top_class, classes), 1)
    loser = tl.where(is_top & (top_class == row_class[:, None]), -float("inf"), top)
    row_second = tl.max(tl.maximum(second, loser), 1)
    row_top = tl.where(valid, row_top, 0.0)
    reference = tl.where(row_second == lowest, row_top, row_second)
    total = total * exp(second - reference[:, None]) + exp(loser - reference[:, None])
    return row_top, row_class, reference, tl.sum(total, 1)


@triton.jit
def sums_of_row(
    places, class_weight_ptr, classes, valid, top, top_class, reference, scale, top_weight, elsewhere,
    bonus_weight, edge, shift, rate, log_eps, BONUS: tl.constexpr, BENT: tl.constexpr,
    LOG_SUMS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``loss_sum, slope_sum, q_others`` of a row, as ``row_results`` takes them: (1,) each."""
    q_sum = tl.zeros((1, BLOCK), tl.float32)
    losses = tl.zeros((1, BLOCK), tl.float32)
    slopes = tl.zeros((1, BLOCK), tl.float32)
    product = tl.full((1, BLOCK), 1.0, tl.float32)  # stays above 1/4
    for start in range(0, classes, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        readable = valid[:, None] & (column < classes)
        z = tl.load(places + column, mask=readable, other=-float("inf")).to(tl.float32)
        # The top class and classes beyond the last have e = 0, whose bonus is 0 and slope 1.
        e = tl.where(column == top_class[:, None], 0.0, exp(z - reference[:, None]))
        p = e * scale[:, None]
        q = tl.where(readable, elsewhere, 0.0)
        if class_weight_ptr is not None:
            q *= tl.load(class_weight_ptr + column, mask=readable, other=0.0)
            q_sum += q
        losses -= tl.where(readable, q * (z - top[:, None]), 0.0)
        if LOG_SUMS:
            product *= 1 - p
        else:
            value = bonus_value(p, tl.log(1 - p), 1 - p, edge, shift, rate, log_eps, BONUS, BENT)
            losses += q * (bonus_weight * value)
        slopes += q * neg_slope(p, bonus_weight, edge, rate, BONUS, BENT)
    if LOG_SUMS:
        losses += elsewhere * bonus_weight * tl.log(product)
    q_top = elsewhere * top_weight
    q_others = (classes - 1) * q_top
    if class_weight_ptr is not None:
        q_others = tl.sum(q_sum, 1) - q_top
    return tl.sum(losses, 1), tl.sum(slopes, 1) - q_top, q_others


@triton.jit
def long_rows(
    z_ptr, gradient_ptr, target_ptr, class_weight_ptr, loss_ptr, log_p_ptr, upstream_ptr, parts_ptr,
    batch_stride, row_stride, class_stride, out_batch_stride, out_row_stride, out_class_stride,
    rows, classes, upstream_stride, ignore_index, on_target, elsewhere,
    bonus_weight, edge, shift, rate, eps, log_eps,
    BONUS: tl.constexpr, TANGENT: tl.constexpr, BENT: tl.constexpr, SMOOTHED: tl.constexpr,
    LOG_SUMS: tl.constexpr, PARTS: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A row a program; arguments as those of ``losses_and_gradient``."""
    classes *= ALIGN
    batch = (tl.program_id(0) // rows).to(tl.int64)
    row = tl.program_id(0) % rows + tl.arange(0, 1)
    here = batch * rows + row
    there = row < rows
    target = tl.load(target_ptr + here).to(tl.int64)
    valid = target != ignore_index
    first = z_ptr + (batch * batch_stride * ALIGN + row.to(tl.int64) * (row_stride * ALIGN))
    top, top_class, reference, total = extremes_of_row(first[:, None], classes, valid, BLOCK)
    scale = scale_of(top, reference, total)
    top_weight = tl.full((1,), 1.0, tl.float32)
    if class_weight_ptr is not None:
        top_weight = tl.load(class_weight_ptr + top_class, mask=top_class < classes, other=0.0)
    loss_sum = total
    slope_sum = total
    q_others = total
    if SMOOTHED:
        loss_sum, slope_sum, q_others = sums_of_row(
            first[:, None], class_weight_ptr, classes, valid, top, top_class, reference, scale, top_weight,
            elsewhere, bonus_weight, edge, shift, rate, log_eps, BONUS, BENT, LOG_SUMS, BLOCK,
        )  # fmt: skip
    factor, grad_per_e, grad_top, grad_target = finish_rows(
        first, 1, here, there, valid, target, top_class, classes, top_weight, q_others, top, reference, total,
        scale, loss_sum, slope_sum, class_weight_ptr, loss_ptr, log_p_ptr, upstream_ptr, parts_ptr,
        upstream_stride, on_target, elsewhere, bonus_weight, edge, shift, rate, eps, log_eps,
        BONUS, TANGENT, BENT, SMOOTHED, PARTS,
    )  # fmt: skip
    if gradient_ptr is not None:
        tl.debug_barrier()  # all threads have read the target's logit, which the gradient may replace
        output = gradient_ptr + (
            batch * out_batch_stride * ALIGN + row.to(tl.int64) * (out_row_stride * ALIGN)
        )
        for start in range(0, classes, BLOCK):
            column = start + tl.arange(0, BLOCK)[None, :]
            inside = column < classes
            readable = inside & valid[:, None]
            z = tl.load(first[:, None] + column, mask=readable, other=-float("inf")).to(tl.float32)
            e = tl.where(column == top_class[:, None], 0.0, exp(z - reference[:, None]))
            gradient = e * grad_per_e[:, None]
            if SMOOTHED:
                slopes = neg_slope(e * scale[:, None], bonus_weight, edge, rate, BONUS, BENT)
                if class_weight_ptr is not None:
                    slopes *= tl.load(class_weight_ptr + column, mask=inside, other=0.0)
                gradient -= slopes * (elsewhere * factor)[:, None]
            tl.store(output[:, None] + column, gradient.to(gradient_ptr.dtype.element_ty), mask=inside)
        tl.debug_barrier()  # before other threads write to two of these places
        tl.store(output + top_class, grad_top, mask=top_class < classes)
        tl.store(output + target, grad_target, mask=valid & (target >= 0) & (target < classes))
