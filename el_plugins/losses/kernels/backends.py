"""Which implementation computes a loss: chosen by what is available, or by the caller."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch._subclasses import FakeTensor

from el_plugins.losses.kernels.transforms import is_transformed
from el_plugins.losses.validation import check_choice, is_compiling

PATHS = ("auto", "formula", "chunks", "compiled", "triton")
# For smaller inputs the seconds of compiling, once for every kind of call, do not pay off soon.
WORTH_COMPILING = 2**22  # elements

_chosen = ContextVar("el_plugins.losses.kernels.use", default="auto")


@contextmanager
def use(path: str) -> Iterator[None]:
    """Choose the implementation inside a ``with`` block.

    ============  ===================================================================================
    path          what computes losses and gradients
    ============  ===================================================================================
    ``auto``      ``compiled`` on CPU for large inputs where there is a C++ compiler (not for the linear
                  form, where matrix products take most of the time), ``triton`` on CUDA where it is
                  installed, else ``chunks``; torch's own routine for the sum of plain cross-entropy of a
                  linear layer
    ``chunks``    closed-form gradients by plain torch operations, a chunk of rows at a time
    ``compiled``  the same through ``torch.compile``; ``chunks`` where that fails
    ``triton``    Triton kernels for rows and for halted focal loss; ``chunks`` where they fail and in double
                  precision, but then ``compiled`` for halted focal loss
    ``formula``   the formula by autograd: slow and large, but differentiable twice and in forward mode
    ============  ===================================================================================

    All of them agree to rounding. Where one fails, that call is computed by plain operations, with one
    RuntimeWarning for each reason; running out of memory is an error. The choice is local to the thread and
    the asyncio task (a ``ContextVar``), and is made in forward: backward follows it.

    Raises:
        ValueError: ``path`` is not one of these.
    """
    check_choice("path", path, PATHS)
    if is_compiling():  # a graph contains the formula, or on CUDA the kernel
        yield
        return
    token = _chosen.set(path)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen(x: torch.Tensor, may_compile: bool = True) -> str:
    """The path for ``x``, one of :data:`PATHS` except ``auto``, which compiles only if ``may_compile``."""
    if is_compiling():  # the caller's graph contains the formula, and fuses it
        return "formula"
    path = _chosen.get()
    if x.is_meta or isinstance(x, FakeTensor):  # there are no values for a kernel to read
        return "formula" if path == "formula" else "chunks"
    if path != "auto":
        return path
    if x.is_cuda and importlib.util.find_spec("triton"):
        return "triton"
    if may_compile and x.device.type == "cpu" and x.numel() >= WORTH_COMPILING and can_compile():
        return "compiled"
    return "chunks"


def by_triton(path: str, *tensors: torch.Tensor) -> bool:
    """Whether the Triton kernels compute these: on their path, and not in double precision."""
    return path == "triton" and all(tensor.dtype != torch.float64 for tensor in tensors)


def is_auto() -> bool:
    """Whether the path is left to us: by the caller, outside compiled graphs and transforms."""
    return not is_compiling() and _chosen.get() == "auto" and not is_transformed()


@functools.lru_cache(maxsize=1)
def can_compile() -> bool:
    """Whether there is a C++ compiler for ``torch.compile`` on the CPU."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None
