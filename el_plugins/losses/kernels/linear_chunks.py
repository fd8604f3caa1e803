"""Chunks of the linear form: how many rows' logits exist at once, and the sum of a gradient over chunks."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

ELEMENTS = 2**22  # logits at a time on a CPU: 16 MiB in fp32
GPU_ELEMENTS = 2**25
GPU_ROWS = 1024
GPU_TILE = 256  # rows of a GPU's products: parts of a tile are computed in vain
SHARE = 8  # of the free memory, one part for a chunk's logits


def rows_at_a_time(input: Tensor, classes: int) -> int:
    """How many rows' logits exist at once for ``input``, (N, D).

    Every chunk adds to the whole gradient of the matrix, which is too expensive for a few rows.

    - CPU: those of 4 million logits, but at least 128 rows, or a quarter of all if that is less.
    - GPU: 1,024 rows, or more for a sixteenth of all rows or 32 million logits, in multiples of 256; fewer
      only where their logits would take more than an eighth of the free memory, then at least 256.
    """
    if not input.is_cuda:
        return max(ELEMENTS // max(classes, 1), min(128, len(input) // 4), 1)
    rows = max(GPU_ROWS, GPU_ELEMENTS // max(classes, 1), len(input) // 16)
    free = free_memory(input)
    if free is not None:
        rows = min(rows, free // (SHARE * max(classes, 1) * input.element_size()))
    return max(rows // GPU_TILE, 1) * GPU_TILE


def free_memory(x: Tensor) -> int | None:
    """Bytes that can be allocated on the GPU of ``x``; None where there is no memory, or no asking for it."""
    if isinstance(x, FakeTensor) or torch.cuda.is_current_stream_capturing():
        return None
    free, _ = torch.cuda.mem_get_info(x.device)
    return free + torch.cuda.memory_reserved(x.device) - torch.cuda.memory_allocated(x.device)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, as wide or float32; on a GPU narrow products are not rounded before."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    elif a.is_cuda and not isinstance(a, FakeTensor) and adds_wide(a.device, a.dtype):
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total += a @ b


@functools.cache
def adds_wide(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch adds products of narrow matrices to a float32 one on this GPU."""
    try:
        one = torch.ones(16, 16, dtype=dtype, device=device)
        total = one.float()
        torch.addmm(total, one, one, out_dtype=torch.float32, out=total)
    except (TypeError, RuntimeError):
        return False
    return True
