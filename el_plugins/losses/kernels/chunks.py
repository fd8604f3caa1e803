"""How many rows a path computes at a time."""

from __future__ import annotations

from torch import Tensor

# Elements per chunk on a CPU. Plain operations are fastest on a megabyte, which fits a core's cache; compiled
# code makes fewer passes over a chunk, so that larger ones save calls.
CHUNK_ELEMENTS = {"chunks": 2**18, "compiled": 2**20}
GPU_CHUNK_ELEMENTS = 2**24  # a GPU needs much work at once


def chunk_rows(x: Tensor, path: str) -> list[slice]:
    """Slices of the rows of ``x``, (n, V), for ``path``; one empty slice for no rows."""
    elements = CHUNK_ELEMENTS.get(path, GPU_CHUNK_ELEMENTS) if x.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    step = max(elements // max(x.size(1), 1), 1)
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]
