"""How the elements of a tensor lie in memory."""

from __future__ import annotations

from torch import Tensor


def overlaps(x: Tensor) -> bool:
    """Whether elements of ``x`` may share memory, as in an expanded or unfolded tensor."""
    return any(stride < span for stride, span in strides_and_spans(x))


def is_dense(x: Tensor) -> bool:
    """Whether the elements of ``x`` fill a piece of memory, in any order, each its own place."""
    return all(stride == span for stride, span in strides_and_spans(x))


def strides_and_spans(x: Tensor) -> list[tuple[int, int]]:
    """For each dimension, from the innermost, its stride and how far the dimensions inside it reach."""
    result, span = [], 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride(), x.shape) if n != 1):
        result.append((stride, span))
        span = stride * size
    return result
