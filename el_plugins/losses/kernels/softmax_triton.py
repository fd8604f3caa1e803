"""What needs every logit of a row, in Triton. The mathematics row by row is in :mod:`softmax`.

One program per row: an online pass for the two largest logits and the sum of the others, a pass for the sums
of a smoothed target, and one that writes the gradient. Computes in float32, whatever it reads and writes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.device import on_its_device

BLOCK = 4096


@triton.jit
def _extremes(
    z_ptr, stride, top_ptr, class_ptr, second_ptr, total_ptr, classes, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    top = tl.full((), -float("inf"), tl.float32)
    second = tl.full((), -float("inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    top_class = tl.full((), 0, tl.int64)
    nans = tl.full((), 0, tl.int32)
    for start in range(0, classes, BLOCK):
        here = start + columns
        z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=-float("inf")).to(tl.float32)
        nans += tl.sum((z != z).to(tl.int32), 0)
        z = tl.where(z != z, -float("inf"), z)
        block_top = tl.max(z, 0)
        block_class = tl.argmax(z, 0) + start
        others = tl.where(here == block_class, -float("inf"), z)
        loser = tl.minimum(top, block_top)  # the smaller of the two tops joins the others
        new_second = tl.maximum(tl.maximum(second, tl.max(others, 0)), loser)
        reference = tl.where(new_second == -float("inf"), 0.0, new_second)
        total = total * tl.exp(second - reference) + tl.sum(tl.exp(others - reference), 0)
        total += tl.exp(loser - reference)
        second = new_second
        top_class = tl.where(block_top > top, block_class.to(tl.int64), top_class)
        top = tl.maximum(top, block_top)
    tl.store(top_ptr + row, tl.where(nans > 0, float("nan"), top))
    tl.store(class_ptr + row, top_class)
    tl.store(second_ptr + row, second)
    tl.store(total_ptr + row, total)


@triton.jit
def _sums(
    z_ptr, stride, top_ptr, second_ptr, scale_ptr, distance_sum_ptr, log_1mp_sum_ptr, odds_sum_ptr, classes,
    sum_scale, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    top = tl.load(top_ptr + row)
    second = tl.load(second_ptr + row)
    scale = tl.load(scale_ptr + row)
    columns = tl.arange(0, BLOCK)
    distances = tl.zeros((BLOCK,), tl.float32)
    odds = tl.zeros((BLOCK,), tl.float32)
    # Probabilities beside the top one are at most 1/2 and sum to at most 1: the product stays above 1/4.
    product = tl.full((BLOCK,), 1.0, tl.float32)
    for start in range(0, classes, BLOCK):
        here = start + columns
        beside = (here < classes) & (here != top)
        z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=0.0).to(tl.float32)
        distance = z - second
        p = tl.where(beside, tl.exp(distance) * scale, 0.0)
        distances += tl.where(beside, distance * sum_scale, 0.0)
        product *= 1 - p
        odds += p / (1 - p)
    tl.store(distance_sum_ptr + row, tl.sum(distances, 0))
    tl.store(log_1mp_sum_ptr + row, tl.sum(tl.log(product), 0))
    tl.store(odds_sum_ptr + row, tl.sum(odds, 0))


@triton.jit
def _gradient(
    z_ptr, out_ptr, stride, out_stride, valid_ptr, reference_ptr, scale_ptr, grad_per_e_ptr, grad_output_ptr,
    elsewhere, weight, classes, SMOOTHED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    here = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    grad_output = tl.load(grad_output_ptr + row)
    z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=0.0).to(tl.float32)
    e = tl.exp(z - tl.load(reference_ptr + row))
    gradient = e * (tl.load(grad_per_e_ptr + row) * grad_output)
    if SMOOTHED:
        p = e * tl.load(scale_ptr + row)
        gradient -= (1 + weight * (p / (1 - p))) * (elsewhere * grad_output)
    gradient = tl.where(tl.load(valid_ptr + row) != 0, gradient, 0.0)
    tl.store(out_ptr + row * out_stride + here, gradient.to(out_ptr.dtype.element_ty), mask=here < classes)


@on_its_device
def row_stats(logits: Tensor, valid: Tensor, options: softmax.KernelOptions) -> softmax.RowStats:
    """Statistics of all rows of ``logits``, (n, V), with the second largest logit as reference."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    count, classes = logits.shape
    top, second, total = (logits.new_empty(count, 1, dtype=torch.float32) for _ in range(3))
    top_class = torch.empty_like(top, dtype=torch.int64)
    block = min(triton.next_power_of_2(classes), BLOCK)
    if count:
        _extremes[(count,)](logits, logits.stride(0), top, top_class, second, total, classes, BLOCK=block)
    reference = torch.where(second == -torch.inf, top, second)
    loss_sum = neg_slope_sum = torch.zeros_like(top)
    if options.elsewhere:
        log_scale, _, _ = softmax.log_scales(top, reference, total)
        distance_sum, log_1mp_sum, odds_sum = (torch.empty_like(top) for _ in range(3))
        if count:
            _sums[(count,)](
                logits, logits.stride(0), top_class, reference, log_scale.exp(), distance_sum, log_1mp_sum,
                odds_sum, classes, softmax.SUM_SCALE, BLOCK=block,
            )  # fmt: skip
        loss_sum, neg_slope_sum = softmax.log_bonus_sums(
            distance_sum, log_1mp_sum, odds_sum, classes - 1, log_scale, options
        )
    return softmax.RowStats(top, top_class, reference, total, loss_sum, neg_slope_sum)


@on_its_device
def gradient_of_others(
    output: Tensor,
    logits: Tensor,
    valid: Tensor,
    options: softmax.KernelOptions,
    state: softmax.RowState,
    grad_output: Tensor,
) -> None:
    """Write the gradient of all classes but the rows' top classes and targets into ``output``."""
    z = logits if logits.stride(1) == 1 else logits.contiguous()
    written = output if output.stride(1) == 1 else torch.empty_like(z)
    count, classes = z.shape
    block = min(triton.next_power_of_2(classes), BLOCK)
    if count:
        vectors = (valid, state.reference, state.scale, state.grad_per_e, grad_output)
        _gradient[(count, triton.cdiv(classes, block))](
            z, written, z.stride(0), written.stride(0), *(x.contiguous() for x in vectors), options.elsewhere,
            options.log_weight, classes, SMOOTHED=bool(options.elsewhere), BLOCK=block,
        )  # fmt: skip
    if written is not output:
        output.copy_(written)
