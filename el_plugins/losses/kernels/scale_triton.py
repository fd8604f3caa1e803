"""A gradient that forward has computed, times the scalar that backward brings, in Triton."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels.device import on_its_device

BLOCK = 4096
PROGRAMS = 1024  # several for each multiprocessor; where the scalar is 1 they are all there is to start


@triton.jit
def _scale(x_ptr, factor_ptr, count, BLOCK: tl.constexpr):
    factor = tl.load(factor_ptr).to(tl.float32)
    if factor != 1:  # the host cannot know without waiting for the GPU
        first = tl.program_id(0).to(tl.int64) * BLOCK
        for start in range(first, count, tl.num_programs(0) * BLOCK):
            here = start + tl.arange(0, BLOCK)
            x = tl.load(x_ptr + here, mask=here < count).to(tl.float32)
            x = tl.where(x == 0, x, x * factor)  # also where the factor is infinite
            tl.store(x_ptr + here, x, mask=here < count)


@on_its_device
def scale_(gradient: Tensor, factor: Tensor) -> Tensor:
    """Multiply dense ``gradient`` in place by the scalar ``factor``; it is not read if that is 1."""
    programs = min(triton.cdiv(gradient.numel(), BLOCK), PROGRAMS)
    if programs:
        _scale[(programs,)](gradient, factor, gradient.numel(), BLOCK=BLOCK)
    return gradient
