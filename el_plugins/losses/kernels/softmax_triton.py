"""The row kernels in Triton: what needs every logit. The rest, row by row, is :mod:`softmax`' own.

One program a row: an online pass for the two largest logits and the sum beside them, a pass for the sums of a
smoothed target, and one that writes the gradient. Accumulates in float32; reads and writes the logits' dtype.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.backends import on_its_device

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
    broken = tl.full((), 0, tl.int32)
    for start in range(0, classes, BLOCK):
        here = start + columns
        z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=-float("inf")).to(tl.float32)
        broken += tl.sum((z != z).to(tl.int32), 0)
        z = tl.where(z != z, -float("inf"), z)
        block_top = tl.max(z, 0)
        block_class = tl.argmax(z, 0) + start
        others = tl.where(here == block_class, -float("inf"), z)
        loser = tl.minimum(top, block_top)  # of the two tops the smaller joins the others
        new_second = tl.maximum(tl.maximum(second, tl.max(others, 0)), loser)
        reference = tl.where(new_second == -float("inf"), 0.0, new_second)
        total = total * tl.exp(second - reference) + tl.sum(tl.exp(others - reference), 0)
        total += tl.exp(loser - reference)
        second = new_second
        top_class = tl.where(block_top > top, block_class.to(tl.int64), top_class)
        top = tl.maximum(top, block_top)
    tl.store(top_ptr + row, tl.where(broken > 0, float("nan"), top))
    tl.store(class_ptr + row, top_class)
    tl.store(second_ptr + row, second)
    tl.store(total_ptr + row, total)


@triton.jit
def _sums(
    z_ptr, stride, top_ptr, second_ptr, scale_ptr, distances_ptr, rest_ptr, pulls_ptr, classes, share,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    top = tl.load(top_ptr + row)
    second = tl.load(second_ptr + row)
    scale = tl.load(scale_ptr + row)
    columns = tl.arange(0, BLOCK)
    distances = tl.zeros((BLOCK,), tl.float32)
    pulls = tl.zeros((BLOCK,), tl.float32)
    # Probabilities beside the top one are at most 1/2 and sum to at most 1: their product stays above 1/4.
    product = tl.full((BLOCK,), 1.0, tl.float32)
    for start in range(0, classes, BLOCK):
        here = start + columns
        beside = (here < classes) & (here != top)
        z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=0.0).to(tl.float32)
        distance = z - second
        p = tl.where(beside, tl.exp(distance) * scale, 0.0)
        distances += tl.where(beside, distance * share, 0.0)
        product *= 1 - p
        pulls += p / (1 - p)
    tl.store(distances_ptr + row, tl.sum(distances, 0))
    tl.store(rest_ptr + row, tl.sum(tl.log(product), 0))
    tl.store(pulls_ptr + row, tl.sum(pulls, 0))


@triton.jit
def _gradient(
    z_ptr, out_ptr, stride, out_stride, kept_ptr, reference_ptr, scale_ptr, slope_ptr, upstream_ptr,
    elsewhere, weight, classes, SMOOTHED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    here = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    upstream = tl.load(upstream_ptr + row)
    z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=0.0).to(tl.float32)
    e = tl.exp(z - tl.load(reference_ptr + row))
    gradient = e * (tl.load(slope_ptr + row) * upstream)
    if SMOOTHED:
        p = e * tl.load(scale_ptr + row)
        gradient -= (1 + weight * (p / (1 - p))) * (elsewhere * upstream)
    gradient = tl.where(tl.load(kept_ptr + row) != 0, gradient, 0.0)
    tl.store(out_ptr + row * out_stride + here, gradient.to(out_ptr.dtype.element_ty), mask=here < classes)


@on_its_device
def measure(logits: Tensor, kept: Tensor, terms: softmax.Terms) -> softmax.Figures:
    """Figures of all rows of ``logits``, (n, V), referring to the largest logit beside the top one."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    count, classes = logits.shape
    top, second, total = (logits.new_empty(count, 1, dtype=torch.float32) for _ in range(3))
    top_class = torch.empty_like(top, dtype=torch.int64)
    block = min(triton.next_power_of_2(classes), BLOCK)
    if count:
        _extremes[(count,)](logits, logits.stride(0), top, top_class, second, total, classes, BLOCK=block)
    reference = torch.where(second == -torch.inf, top, second)
    values = gains = torch.zeros_like(top)
    if terms.elsewhere:
        log_scale, _, _ = softmax.scales(top, reference, total)
        distances, log_rest, pulls = (torch.empty_like(top) for _ in range(3))
        if count:
            _sums[(count,)](
                logits, logits.stride(0), top_class, reference, log_scale.exp(), distances, log_rest, pulls,
                classes, softmax.SHARE, BLOCK=block,
            )  # fmt: skip
        values, gains = softmax.plain_sums(distances, log_rest, pulls, classes - 1, log_scale, terms)
    return softmax.Figures(top, top_class, reference, total, values, gains)


@on_its_device
def gradient(
    output: Tensor,
    logits: Tensor,
    kept: Tensor,
    terms: softmax.Terms,
    state: softmax.RowState,
    upstream: Tensor,
) -> None:
    """Write the gradient of all rows but of their top classes and targets into ``output``."""
    z = logits if logits.stride(1) == 1 else logits.contiguous()
    written = output if output.stride(1) == 1 else torch.empty_like(z)
    count, classes = z.shape
    block = min(triton.next_power_of_2(classes), BLOCK)
    if count:
        vectors = [x.contiguous() for x in (kept, state.reference, state.scale, state.slope, upstream)]
        _gradient[(count, triton.cdiv(classes, block))](
            z, written, z.stride(0), written.stride(0), *vectors, terms.elsewhere, terms.bonus_below_half,
            classes, SMOOTHED=bool(terms.elsewhere), BLOCK=block,
        )  # fmt: skip
    if written is not output:
        output.copy_(written)
