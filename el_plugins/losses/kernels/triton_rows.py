"""The row kernels in Triton: what needs every logit. The rest, row by row, is :mod:`rows`' own.

One program a row: an online pass for the two largest logits and the sum beside them, a pass for the sums of a
smoothed target, and one that writes the gradient. Accumulates in float32; reads and writes the logits' dtype.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels import rows

BLOCK = 4096


def supports(dtype: torch.dtype, terms: rows.Terms) -> bool:
    """Whether these kernels know the case: not double precision; smoothed, only unweighted log bonuses."""
    plain = terms.weight is None and (terms.bonus.is_log_below_half or terms.bonus.is_nothing)
    return dtype != torch.float64 and (plain or not terms.elsewhere)


@triton.jit
def _extremes(
    z_ptr, stride, kept_ptr, top_ptr, class_ptr, second_ptr, total_ptr, classes, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    kept = tl.load(kept_ptr + row) != 0
    columns = tl.arange(0, BLOCK)
    top = tl.full((), -float("inf"), tl.float32)
    second = tl.full((), -float("inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    top_class = tl.full((), 0, tl.int64)
    broken = tl.full((), 0, tl.int32)
    for start in range(0, classes, BLOCK):
        here = start + columns
        z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=-float("inf")).to(tl.float32)
        z = tl.where(kept | (here >= classes), z, 0.0)
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
    z_ptr, stride, kept_ptr, top_ptr, second_ptr, scale_ptr, distances_ptr, rest_ptr, pulls_ptr, classes,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    kept = tl.load(kept_ptr + row) != 0
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
        distance = tl.where(kept, z, 0.0) - second
        p = tl.where(beside, tl.exp(distance) * scale, 0.0)
        distances += tl.where(beside, distance, 0.0)
        product *= 1 - p
        pulls += p / (1 - p)
    tl.store(distances_ptr + row, tl.sum(distances, 0))
    tl.store(rest_ptr + row, tl.sum(tl.log(product), 0))
    tl.store(pulls_ptr + row, tl.sum(pulls, 0))


@triton.jit
def _gradient(
    z_ptr, out_ptr, stride, out_stride, target_ptr, kept_ptr, top_ptr, second_ptr, scale_ptr, slope_ptr,
    at_top_ptr, at_target_ptr, upstream_ptr, elsewhere, weight, classes,
    SMOOTHED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    here = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    kept = tl.load(kept_ptr + row) != 0
    upstream = tl.load(upstream_ptr + row)
    z = tl.load(z_ptr + row * stride + here, mask=here < classes, other=0.0).to(tl.float32)
    e = tl.exp(tl.where(kept, z, 0.0) - tl.load(second_ptr + row))
    gradient = e * (tl.load(slope_ptr + row) * upstream)
    if SMOOTHED:
        p = e * tl.load(scale_ptr + row)
        gradient -= (1 + weight * (p / (1 - p))) * (elsewhere * upstream)
    gradient = tl.where(here == tl.load(target_ptr + row), tl.load(at_target_ptr + row) * upstream, gradient)
    gradient = tl.where(here == tl.load(top_ptr + row), tl.load(at_top_ptr + row) * upstream, gradient)
    gradient = tl.where(kept, gradient, 0.0)
    tl.store(out_ptr + row * out_stride + here, gradient.to(out_ptr.dtype.element_ty), mask=here < classes)


def losses(
    logits: Tensor, target: Tensor, kept: Tensor, terms: rows.Terms
) -> tuple[Tensor, Tensor, rows.RowState]:
    """:func:`rows.losses`, for the cases that :func:`supports` knows."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    count, classes = logits.shape
    top, second, total = (logits.new_empty(count, 1, dtype=torch.float32) for _ in range(3))
    top_class = torch.empty_like(target)
    block = min(triton.next_power_of_2(classes), BLOCK)
    common = (logits, logits.stride(0), kept)
    if count:
        _extremes[(count,)](*common, top, top_class, second, total, classes, BLOCK=block)
    has_top = torch.ones_like(kept)
    reference = torch.where(second == -torch.inf, top, second)
    found = rows.Extremes(top, has_top, reference, total)
    sums = None
    if terms.elsewhere:
        log_scale, scale, _, _ = rows.scales(found)
        distances, log_rest, pulls = (torch.empty_like(top) for _ in range(3))
        if count:
            _sums[(count,)](
                *common, top_class, reference, scale, distances, log_rest, pulls, classes, BLOCK=block
            )
        sums = rows.plain_sums(distances, log_rest, pulls, classes, has_top, log_scale, terms.bonus)
    z_target = logits.gather(1, target).float().masked_fill(~kept, 0)
    loss, log_p, state = rows.finish(found, z_target, target, target == top_class, kept, sums, None, terms)
    return loss, log_p, state._replace(top=top_class)


def gradient(
    logits: Tensor, target: Tensor, kept: Tensor, terms: rows.Terms, state: rows.RowState, upstream: Tensor
) -> Tensor:
    """:func:`rows.gradient`, for the cases that :func:`supports` knows."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    count, classes = logits.shape
    output = torch.empty(count, classes, dtype=logits.dtype, device=logits.device)
    block = min(triton.next_power_of_2(classes), BLOCK)
    if count:
        vectors = [x.contiguous() for x in (target, kept, *state, upstream)]
        weight = terms.bonus.weight if terms.bonus.is_log_below_half else 0.0
        _gradient[(count, triton.cdiv(classes, block))](
            logits, output, logits.stride(0), output.stride(0), *vectors, terms.elsewhere, weight, classes,
            SMOOTHED=bool(terms.elsewhere), BLOCK=block,
        )  # fmt: skip
    return output
