"""Launches of the Triton kernels of rows: tiles, strides and arguments."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.bonus_triton import bonus_constants, bonus_numbers
from el_plugins.losses.kernels.count_triton import partial_counts
from el_plugins.losses.kernels.device import on_its_device
from el_plugins.losses.kernels.launch_triton import Launch
from el_plugins.losses.kernels.softmax_long_triton import long_rows
from el_plugins.losses.kernels.softmax_triton import short_rows

NARROW = 64  # so many classes or fewer, or any strided ones up to STRIDED, are those of one thread's row
STRIDED = 512
# Classes of a row in registers. One of 32,768 takes all that a multiprocessor has, so that loads would wait
# for the row before, and spills; a loop takes as few instructions, reads again what is still in the cache,
# and lets two programs run at once. For longer rows only one, lest those under way outgrow a cache of 40 MB.
IN_REGISTERS = 16384
SHARED_CACHE = 2**17  # bytes of a row
PROGRAMS = 1024  # that go through elements in turns: some for each multiprocessor


class Tile(NamedTuple):
    """How a program divides its rows among its threads."""

    axis: int  # of the classes: 1 for the threads along the classes, 0 for the threads along the rows
    rows: int
    block: int  # classes, rounded up to a power of two
    warps: int

    def folds(self, element_size: int) -> int:
        """How many bits of a class' index a thread holds, but for those of one load."""
        each = self.rows * self.block // (32 * self.warps)
        if self.axis == 0:
            return int(math.log2(max(min(each, self.block), 1)))
        return max(int(math.log2(each * element_size // 16)), 0) if each * element_size > 16 else 0


def tile_of(classes: int, contiguous: bool, element_size: int, smoothed: bool) -> Tile:
    """The tile for rows whose classes lie side by side in memory, or not; of long rows it is a part."""
    if classes > IN_REGISTERS:
        if classes * element_size <= SHARED_CACHE:
            return Tile(1, 1, 4096, 16)
        return Tile(1, 1, 4096 if smoothed else 8192, 32)
    block = triton.next_power_of_2(classes)
    if block <= NARROW or not contiguous:
        rows = max(min(4096 // block, 128), 32)
        return Tile(0, rows, block, max(rows // 32, rows * block // 1024))
    each = 64 if block >= 8192 else 32
    return Tile(1, 1, block, max(block // (32 * each), 1))


def traffic(count: int, classes: int, element_size: int, *, early: bool) -> int:
    """Bytes of logits and gradient that a step moves to and from memory, with up to IN_REGISTERS classes.

    The logits are read and the gradient is written once; where it is not computed ``early``, in forward, the
    logits are read there besides. Longer rows are read again in the same launch, if need be from the cache.
    """
    return (2 if early else 3) * count * classes * element_size


def is_readable(rows: Tensor) -> bool:
    """Whether a kernel reads ``rows``, (batch, rows, V), as they lie in memory."""
    return rows.stride(2) == 1 or triton.next_power_of_2(rows.size(2)) <= STRIDED


@on_its_device
def losses_and_gradient(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    options: softmax.KernelOptions,
    parts: Tensor | None,
    upstream: Tensor | None,
    gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Losses and log p of the targets, (N) in float32, and their gradient by one launch.

    Args:
        logits: (batch, rows, V) with batch * rows = N, float32 or narrower, in any strides.
        target: (N), class indices; one that is out of range gives NaN.
        ignore_index: the target of rows that give exactly 0.
        options: see :class:`~el_plugins.losses.kernels.softmax.KernelOptions`.
        parts: numbers whose sum divides losses and gradient, None for 1.
        upstream: () or (N), multiplies the gradient; None for 1.
        gradient: like ``logits``, maybe ``logits``: the gradient is written to it; None if it is not needed.
    """
    z = logits if is_readable(logits) else logits.contiguous()
    written = gradient if gradient is None or is_readable(gradient) else torch.empty_like(z)
    losses, log_p = (z.new_empty(z.size(0) * z.size(1), dtype=torch.float32) for _ in range(2))
    if losses.numel():
        target = target.contiguous()
        launch_of(z, target, ignore_index, options, parts, upstream, written, losses, log_p).run()
    if written is not gradient and gradient is not None and written is not None:
        gradient.copy_(written)
    return losses, log_p


def launch_of(
    z: Tensor,
    target: Tensor,
    ignore_index: int,
    options: softmax.KernelOptions,
    parts: Tensor | None,
    upstream: Tensor | None,
    gradient: Tensor | None,
    losses: Tensor,
    log_p: Tensor,
) -> Launch:
    """The launch for tensors that :func:`is_readable`; their values are not read."""
    batches, rows, classes = z.shape
    contiguous = z.stride(2) == 1 and (gradient is None or gradient.stride(2) == 1)
    tile = tile_of(classes, contiguous, z.element_size(), bool(options.elsewhere))
    strides, align = strides_of(z, z if gradient is None else gradient, tile.axis)
    arguments = (
        z, gradient, target, options.weight, losses, log_p, upstream, parts, *strides, rows, classes // align,
        upstream.stride(0) if upstream is not None and upstream.dim() else 0, ignore_index, options.on_target,
        options.elsewhere, *bonus_numbers(options.bonus),
    )  # fmt: skip
    constants = {
        **bonus_constants(options.bonus),
        "SMOOTHED": bool(options.elsewhere),
        "LOG_SUMS": options.has_log_sums,
        "PARTS": 1 if parts is None else len(parts),
        "ALIGN": align,
        "BLOCK": tile.block,
        "num_warps": tile.warps,
    }
    if classes > IN_REGISTERS:
        return Launch(long_rows, batches * rows, arguments, constants)
    constants.update(FOLDS=tile.folds(z.element_size()), AXIS=tile.axis, ROWS=tile.rows)
    return Launch(short_rows, batches * triton.cdiv(rows, tile.rows), arguments, constants)


def strides_of(z: Tensor, output: Tensor, axis: int) -> tuple[tuple[int, ...], int]:
    """The strides of both, and the power of two that divides those of wide rows, which count in its units."""
    strides = [0 if size == 1 else stride for x in (z, output) for size, stride in zip(x.shape, x.stride())]
    if axis == 0:
        return tuple(strides), 1
    align = math.gcd(16, z.size(2), *strides[0:2], *strides[3:5])
    return tuple(1 if place % 3 == 2 else stride // align for place, stride in enumerate(strides)), align


@on_its_device
def count_valid(target: Tensor, ignore_index: int, weight: Tensor | None, classes: int) -> Tensor:
    """Numbers whose sum is that of valid targets, or of their class weights: float32, (a power of two)."""
    programs = min(triton.next_power_of_2(triton.cdiv(max(target.numel(), 1), 4096)), 128)
    parts = torch.empty(programs, dtype=torch.float32, device=target.device)
    partial_counts[(programs,)](
        target.contiguous(), weight, parts, target.numel(), classes, ignore_index, BLOCK=1024
    )
    return parts
