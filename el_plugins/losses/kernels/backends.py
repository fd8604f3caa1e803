"""Which implementation computes a loss: chosen by what is there, or by the caller."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch._subclasses import FakeTensor

from el_plugins.losses.kernels.fallback import guarded
from el_plugins.losses.kernels.transforms import is_transformed
from el_plugins.losses.kernels.transforms import refuse_second_order as refuse_second_order
from el_plugins.losses.validation import check_choice, is_compiling

PATHS = ("auto", "formula", "chunks", "compiled", "triton")
# Under it the seconds that compiling takes, once for every kind of call, are not won back soon.
WORTH_COMPILING = 2**22  # elements

# Elements a chunk. Plain operations on CPU do best on a megabyte, which stays in a core's cache; compiled
# code makes fewer passes and is spared calls; a GPU wants much work at once.
CHUNKS = {"chunks": 2**18, "compiled": 2**20}
CHUNK_ON_GPU = 2**24

# As many settings are compiled in one process; more run slowly. torch's own limit is 8.
SETTINGS = 64

_chosen = ContextVar("el_plugins.losses.kernels.use", default="auto")


@contextmanager
def use(path: str) -> Iterator[None]:
    """Choose the implementation inside a ``with`` block.

    ============  ===================================================================================
    path          what computes losses and gradients
    ============  ===================================================================================
    ``auto``      ``compiled`` on CPU for large inputs where a C++ compiler is found (not for the linear
                  form, where the matrix products take most of the time), ``triton`` on CUDA where it is
                  installed, else ``chunks``; torch's own routine for the sum of plain cross-entropy of a
                  linear layer
    ``chunks``    closed-form gradients by plain torch operations, some rows at a time
    ``compiled``  the same through ``torch.compile``; ``chunks`` where that fails
    ``triton``    the rows' sums and gradients and halted focal loss of class indices by Triton kernels;
                  ``chunks`` where that fails, in double precision, and for weighted or other than log
                  bonuses with label smoothing; halted focal loss of 0/1 targets or in double precision
                  as ``compiled``
    ``formula``   the formula by autograd: slow and large, but differentiable twice and in forward mode
    ============  ===================================================================================

    All of them agree to rounding. Where one fails, that call is computed by plain operations, with a
    RuntimeWarning for each reason; running out of memory is an error. The choice is the thread's and the
    asyncio task's own (a ``ContextVar``), and is made in forward: backward does as forward did.

    Raises:
        ValueError: ``path`` is not one of these.
    """
    check_choice("path", path, PATHS)
    if is_compiling():  # a graph takes the formula in, whatever is chosen
        yield
        return
    token = _chosen.set(path)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen(x: torch.Tensor, may_compile: bool = True) -> str:
    """The path for ``x``: one of :data:`PATHS` but ``auto``, which compiles only where it may."""
    if is_compiling():  # the caller's graph takes the formula in, and fuses it
        return "formula"
    path = _chosen.get()
    if x.is_meta or isinstance(x, FakeTensor):  # a shape alone, which no kernel can read
        return "formula" if path == "formula" else "chunks"
    if path != "auto":
        return path
    if x.is_cuda and importlib.util.find_spec("triton"):
        return "triton"
    if may_compile and x.device.type == "cpu" and x.numel() >= WORTH_COMPILING and can_compile():
        return "compiled"
    return "chunks"


def is_free() -> bool:
    """Whether neither the caller nor a graph being compiled nor a transform asks for a path."""
    return not is_compiling() and _chosen.get() == "auto" and not is_transformed()


@functools.lru_cache(maxsize=1)
def can_compile() -> bool:
    """Whether ``torch.compile`` finds a C++ compiler for the CPU."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


@functools.lru_cache(maxsize=None)
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` through torch.compile for any sizes, or as it is where that fails."""
    made = torch.compile(function, dynamic=True)
    # Settings are constants. As variables, which torch makes of numbers for any sizes, they have come out
    # wrong: code made for one gamma or exponent was run for another (seen with torch 2.14).
    dynamo = torch._dynamo.config
    limit = "recompile_limit" if hasattr(dynamo, "recompile_limit") else "cache_size_limit"
    changes = {"specialize_int": True, "specialize_float": True, limit: SETTINGS}
    changes = {name: value for name, value in changes.items() if hasattr(dynamo, name)}

    def fast(*arguments: Any) -> Any:
        with dynamo.patch(changes):
            return made(*arguments)

    return guarded(fast, function)


def on_its_device(launch: Callable[..., Any]) -> Callable[..., Any]:
    """``launch`` on the GPU that holds its first tensor, where Triton would take the current one."""

    @functools.wraps(launch)
    def call(x: torch.Tensor, *arguments: Any) -> Any:
        with torch.cuda.device_of(x):
            return launch(x, *arguments)

    return call


def chunk_rows(x: torch.Tensor, path: str) -> list[slice]:
    """Slices of the rows of ``x`` for ``path``; one empty slice for no rows."""
    elements = CHUNKS.get(path, CHUNK_ON_GPU) if x.device.type == "cpu" else CHUNK_ON_GPU
    step = max(elements // max(x.size(1), 1), 1)
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]
