"""How many targets are valid, in Triton."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def partial_counts(
    target_ptr, class_weight_ptr, parts_ptr, count, classes, ignore_index, BLOCK: tl.constexpr
):
    """Each program's share of the valid targets, or of their class weights: a sum without atomics."""
    sums = tl.zeros((BLOCK,), tl.float32)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    for begin in range(start, count, tl.num_programs(0) * BLOCK):
        here = begin + tl.arange(0, BLOCK)
        target = tl.load(target_ptr + here, mask=here < count, other=0).to(tl.int64)
        valid = (here < count) & (target != ignore_index)
        if class_weight_ptr is not None:
            known = valid & (target >= 0) & (target < classes)
            sums += tl.load(class_weight_ptr + target, mask=known, other=0.0)
        else:
            sums += tl.where(valid, 1.0, 0.0)
    tl.store(parts_ptr + tl.program_id(0), tl.sum(sums, 0))
