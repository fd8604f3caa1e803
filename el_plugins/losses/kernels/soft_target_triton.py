"""Encouraging loss against class probabilities, and its gradients, in one launch: a program a row.

The passes over a row are those of :mod:`softmax_long_triton`; the probabilities are read along.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels.bonus_triton import (
    bonus_constants,
    bonus_numbers,
    bonus_value,
    exp,
    neg_slope,
)
from el_plugins.losses.kernels.device import on_its_device
from el_plugins.losses.kernels.launch_triton import Launch
from el_plugins.losses.kernels.softmax_long_triton import extremes_of_row
from el_plugins.losses.kernels.softmax_row_triton import scale_of, top_class_of


@triton.jit
def share_of_target(target, class_weight_ptr, column, mask, target_share, uniform):
    """q: the smoothed and weighted probabilities, 0 beyond the last class."""
    q = tl.where(mask, target_share * target + uniform, 0.0)
    if class_weight_ptr is not None:
        q *= tl.load(class_weight_ptr + column, mask=mask, other=0.0)
    return q


@triton.jit
def class_terms(
    z, top, reference, scale, is_top, bonus_weight, edge, shift, rate, log_eps, BONUS: tl.constexpr,
    BENT: tl.constexpr,
):  # fmt: skip
    """``e``, class losses but for -log p of the top class, and negative slopes; 0, 0 and 1 for that one."""
    e = tl.where(is_top, 0.0, exp(z - reference))
    p = e * scale
    value = bonus_value(p, tl.log(1 - p), 1 - p, edge, shift, rate, log_eps, BONUS, BENT)
    return e, bonus_weight * value - (z - top), neg_slope(p, bonus_weight, edge, rate, BONUS, BENT)


@triton.jit
def soft_rows(
    z_ptr, target_ptr, class_weight_ptr, loss_ptr, upstream_ptr, d_z_ptr, d_target_ptr, z_stride,
    target_stride, d_z_stride, d_target_stride, classes, upstream_stride, target_share, uniform,
    bonus_weight, edge, shift, rate, eps, log_eps,
    BONUS: tl.constexpr, TANGENT: tl.constexpr, BENT: tl.constexpr, ALIGN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A row a program; strides and classes are in units of ALIGN."""
    classes *= ALIGN
    row = tl.program_id(0).to(tl.int64)
    z_row = z_ptr + row * (z_stride * ALIGN) + tl.zeros((1,), tl.int32)
    target_row = target_ptr + row * (target_stride * ALIGN) + tl.zeros((1,), tl.int32)
    valid = tl.full((1,), 1, tl.int1)
    top, top_class, reference, total = extremes_of_row(z_row[:, None], classes, valid, BLOCK)
    scale = scale_of(top, reference, total)
    log_top, p_top, loss_top, slope_top = top_class_of(
        top, reference, total, bonus_weight, edge, shift, rate, eps, log_eps, BONUS, TANGENT
    )
    losses = tl.zeros((1, BLOCK), tl.float32)
    slopes = tl.zeros((1, BLOCK), tl.float32)
    q_sum = tl.zeros((1, BLOCK), tl.float32)
    for start in range(0, classes, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        inside = column < classes
        z = tl.load(z_row[:, None] + column, mask=inside, other=-float("inf")).to(tl.float32)
        target = tl.load(target_row[:, None] + column, mask=inside, other=0.0).to(tl.float32)
        q = share_of_target(target, class_weight_ptr, column, inside, target_share, uniform)
        _, class_loss, slope = class_terms(
            z, top[:, None], reference[:, None], scale[:, None], column == top_class[:, None], bonus_weight,
            edge, shift, rate, log_eps, BONUS, BENT,
        )  # fmt: skip
        losses += tl.where(q == 0, 0.0, q * class_loss)  # an excluded class may have no mass
        slopes += q * slope
        q_sum += q
    known = top_class < classes
    target_of_top = tl.load(target_row + top_class, mask=known, other=0.0).to(tl.float32)
    q_top = share_of_target(target_of_top, class_weight_ptr, top_class, known, target_share, uniform)
    loss = tl.sum(losses, 1) - (tl.sum(q_sum, 1) - q_top) * log_top + q_top * loss_top
    factor = tl.where((tl.abs(top) < float("inf")) & (total == total), 1.0, float("nan"))
    tl.store(loss_ptr + row + tl.zeros((1,), tl.int32), loss * factor)
    if upstream_ptr is not None:
        factor *= tl.load(upstream_ptr + row * upstream_stride)
        other_slopes = tl.sum(slopes, 1) - q_top
        grad_per_e = (scale * other_slopes + q_top * slope_top) * factor
        grad_top = (p_top * other_slopes - q_top * total * slope_top) * factor
        for start in range(0, classes, BLOCK):
            column = start + tl.arange(0, BLOCK)[None, :]
            inside = column < classes
            z = tl.load(z_row[:, None] + column, mask=inside, other=-float("inf")).to(tl.float32)
            target = tl.load(target_row[:, None] + column, mask=inside, other=0.0).to(tl.float32)
            q = share_of_target(target, class_weight_ptr, column, inside, target_share, uniform)
            is_top = column == top_class[:, None]
            e, class_loss, slope = class_terms(
                z, top[:, None], reference[:, None], scale[:, None], is_top, bonus_weight, edge, shift, rate,
                log_eps, BONUS, BENT,
            )  # fmt: skip
            if d_z_ptr is not None:
                gradient = e * grad_per_e[:, None] - q * slope * factor[:, None]
                gradient = tl.where(is_top, grad_top[:, None], gradient)
                places = d_z_ptr + row * (d_z_stride * ALIGN) + column
                tl.store(places, gradient.to(d_z_ptr.dtype.element_ty), mask=inside)
            if d_target_ptr is not None:
                class_loss = tl.where(is_top, loss_top[:, None], class_loss - log_top[:, None])
                class_loss = tl.where((q == 0) & (z == -float("inf")), 0.0, class_loss)
                by_target = class_loss * share_of_target(
                    1.0, class_weight_ptr, column, inside, target_share, 0.0
                )
                by_target *= factor[:, None]
                places = d_target_ptr + row * (d_target_stride * ALIGN) + column
                tl.store(places, by_target.to(d_target_ptr.dtype.element_ty), mask=inside)


@on_its_device
def losses_and_gradients(
    logits: Tensor, target: Tensor, options: Any, upstream: Tensor | None, outputs: tuple[Tensor | None, ...]
) -> Tensor:
    """Losses (N) in float32, and given ``upstream`` (N) the gradients in those ``outputs`` that are not None.

    ``logits`` and ``target`` are (N, V), float32 or narrower, as are the outputs for them; ``options`` are
    :class:`~el_plugins.losses.kernels.soft_target_function.SoftOptions`.
    """
    z, q = (x if x.stride(1) == 1 else x.contiguous() for x in (logits, target))
    losses = z.new_empty(len(z), dtype=torch.float32)
    written = [x if x is None or x.stride(1) == 1 else torch.empty_like(z, dtype=x.dtype) for x in outputs]
    if len(z):
        launch_of(z, q, options, upstream, tuple(written), losses).run()
    for output, copy in zip(outputs, written):
        if output is not None and copy is not None and copy is not output:
            output.copy_(copy)
    return losses


def launch_of(
    z: Tensor,
    target: Tensor,
    options: Any,
    upstream: Tensor | None,
    outputs: tuple[Tensor | None, ...],
    losses: Tensor,
) -> Launch:
    """The launch for tensors whose classes lie side by side; their values are not read."""
    count, classes = z.shape
    strides = [0 if x is None or count == 1 else x.stride(0) for x in (z, target, *outputs)]
    align = math.gcd(16, classes, *strides)
    block = min(triton.next_power_of_2(classes), 4096)
    arguments = (
        z, target, options.weight, losses, upstream, *outputs, *(stride // align for stride in strides),
        classes // align, 0 if upstream is None else upstream.stride(0), options.target_share,
        options.uniform, *bonus_numbers(options.bonus),
    )  # fmt: skip
    numbers = {"ALIGN": align, "BLOCK": block, "num_warps": max(block // 256, 1)}
    return Launch(soft_rows, count, arguments, {**bonus_constants(options.bonus), **numbers})
