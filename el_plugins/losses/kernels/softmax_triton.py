"""Encouraging loss and its gradient in one launch: a program has whole rows in registers.

Row by row the mathematics is in :mod:`softmax_row_triton`, and why it is so in :mod:`softmax`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from el_plugins.losses.kernels import softmax_chunked
from el_plugins.losses.kernels.bonus_triton import bonus_value, exp, neg_slope
from el_plugins.losses.kernels.softmax_row_triton import finish_rows, log_bonus_sums, scale_of

VANISHING = tl.constexpr(softmax_chunked.VANISHING)


# A stride of the classes of unknown divisibility keeps each row of a narrow tile in one thread.
@triton.jit(do_not_specialize=["class_stride", "out_class_stride"])
def short_rows(
    z_ptr, gradient_ptr, target_ptr, class_weight_ptr, loss_ptr, log_p_ptr, upstream_ptr, parts_ptr,
    batch_stride, row_stride, class_stride, out_batch_stride, out_row_stride, out_class_stride,
    rows, classes, upstream_stride, ignore_index, on_target, elsewhere,
    bonus_weight, edge, shift, rate, eps, log_eps,
    BONUS: tl.constexpr, TANGENT: tl.constexpr, BENT: tl.constexpr, SMOOTHED: tl.constexpr,
    LOG_SUMS: tl.constexpr, FOLDS: tl.constexpr, PARTS: tl.constexpr, AXIS: tl.constexpr, ALIGN: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS rows a program, the classes along AXIS; arguments as those of ``losses_and_gradient``."""
    if AXIS == 1:
        classes *= ALIGN
        row_stride *= ALIGN
        out_row_stride *= ALIGN
        class_stride = 1
        out_class_stride = 1
    else:
        class_stride = class_stride.to(tl.int64)  # times a class it may exceed 32 bits
        out_class_stride = out_class_stride.to(tl.int64)
    blocks = tl.cdiv(rows, ROWS)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    row = (tl.program_id(0) % blocks) * ROWS + tl.arange(0, ROWS)
    here = batch * rows + row
    there = row < rows
    target = tl.load(target_ptr + here, mask=there, other=0).to(tl.int64)
    valid = there & (target != ignore_index)
    column = tl.expand_dims(tl.arange(0, BLOCK), 1 - AXIS)
    inside = column < classes
    first = z_ptr + (batch * batch_stride * ALIGN + row.to(tl.int64) * row_stride)
    places = tl.expand_dims(first, AXIS) + column * class_stride
    readable = tl.expand_dims(valid, AXIS) & inside
    z = tl.load(places, mask=readable, other=-float("inf")).to(tl.float32)

    top = tl.max(z, AXIS)
    top_class = tl.min(tl.where(z == tl.expand_dims(top, AXIS), column, BLOCK), AXIS)
    is_top = column == tl.expand_dims(top_class, AXIS)
    top = tl.where(valid, top, 0.0)
    distance = z - tl.expand_dims(top, AXIS)
    distance_sum = top
    if SMOOTHED and LOG_SUMS:
        distance_sum = tl.sum(tl.where(inside, distance * elsewhere, 0.0), AXIS)
    e = tl.where(is_top, 0.0, exp(distance))
    total = tl.sum(e, AXIS)
    reference = top
    # Relative to the top class the others have lost digits, or vanished: take the second one instead.
    if tl.max(tl.where(valid & (total < VANISHING), 1, 0), 0) > 0:
        z = tl.load(places, mask=readable, other=-float("inf")).to(tl.float32)
        z = tl.where(is_top, -float("inf"), z)
        second = tl.max(z, AXIS)
        reference = tl.where(second == -float("inf"), top, second)
        e = exp(z - tl.expand_dims(reference, AXIS))
        total = tl.sum(e, AXIS)
    scale = scale_of(top, reference, total)

    top_weight = tl.full((ROWS,), 1.0, tl.float32)
    if class_weight_ptr is not None:
        top_weight = tl.load(class_weight_ptr + top_class, mask=top_class < classes, other=0.0)
    loss_sum = total
    slope_sum = total
    q_others = (classes - 1) * elsewhere
    if SMOOTHED:
        # The top class and classes beyond the last have e = 0, whose bonus is 0 and slope 1.
        if LOG_SUMS:
            log_1mp_sum, slope_sum = log_bonus_sums(
                e, scale, bonus_weight, edge, rate, BONUS, BENT, AXIS, ROWS, BLOCK, FOLDS
            )
            loss_sum = bonus_weight * elsewhere * log_1mp_sum - distance_sum
            slope_sum = elsewhere * (slope_sum - (BLOCK - classes + 1))
        else:
            q = tl.where(inside, elsewhere, 0.0)
            if class_weight_ptr is not None:
                q *= tl.load(class_weight_ptr + column, mask=inside, other=0.0)
            p = e * tl.expand_dims(scale, AXIS)
            value = bonus_value(p, tl.log(1 - p), 1 - p, edge, shift, rate, log_eps, BONUS, BENT)
            distance = tl.where(inside, distance, 0.0)
            slopes = neg_slope(p, bonus_weight, edge, rate, BONUS, BENT)
            loss_sum = tl.sum(q * (bonus_weight * value - distance), AXIS)
            slope_sum = tl.sum(q * slopes, AXIS) - elsewhere * top_weight
            if class_weight_ptr is not None:
                q_others = tl.sum(q, AXIS) - elsewhere * top_weight

    factor, grad_per_e, grad_top, grad_target = finish_rows(
        first, class_stride, here, there, valid, target, top_class, classes, top_weight, q_others, top,
        reference, total, scale, loss_sum, slope_sum, class_weight_ptr, loss_ptr, log_p_ptr, upstream_ptr,
        parts_ptr, upstream_stride, on_target, elsewhere, bonus_weight, edge, shift, rate, eps, log_eps,
        BONUS, TANGENT, BENT, SMOOTHED, PARTS,
    )  # fmt: skip
    if gradient_ptr is not None:
        tl.debug_barrier()  # all threads have read the target's logit, which the gradient may replace
        gradient = e * tl.expand_dims(grad_per_e, AXIS)
        if SMOOTHED:
            # The same numbers, but computed again: kept since the sums, they would not fit into registers.
            again = tl.where(total == total, scale, 0.0)
            slopes = neg_slope(e * tl.expand_dims(again, AXIS), bonus_weight, edge, rate, BONUS, BENT)
            if class_weight_ptr is not None:
                slopes *= tl.load(class_weight_ptr + column, mask=inside, other=0.0)
            gradient -= slopes * tl.expand_dims(elsewhere * factor, AXIS)
        first = gradient_ptr + (batch * out_batch_stride * ALIGN + row.to(tl.int64) * out_row_stride)
        places = tl.expand_dims(first, AXIS) + column * out_class_stride
        tl.store(
            places, gradient.to(gradient_ptr.dtype.element_ty), mask=tl.expand_dims(there, AXIS) & inside
        )
        tl.debug_barrier()  # before other threads write to two of these places
        tl.store(first + top_class * out_class_stride, grad_top, mask=there & (top_class < classes))
        known = valid & (target >= 0) & (target < classes)
        tl.store(first + target * out_class_stride, grad_target, mask=known)
