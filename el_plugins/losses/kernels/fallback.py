"""Plain operations where a fast implementation fails: for that call, with a warning, except out of memory."""

from __future__ import annotations

import functools
import subprocess
import warnings
from collections.abc import Callable
from typing import Any

import torch


@functools.cache
def with_fallback(fast: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """``fast``, or where that fails the equivalent ``function``, with one warning for each reason.

    After a failure to compile, ``fast`` is not tried again for tensors of the same kinds. Running out of
    memory is raised, since ``function`` needs no less.
    """
    uncompilable: set[tuple[Any, ...]] = set()
    reasons: set[str] = set()

    def call(*arguments: Any) -> Any:
        if uncompilable and kinds(arguments) in uncompilable:
            return function(*arguments)
        try:
            return fast(*arguments)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            result = function(*arguments)  # an error here too is the caller's
            if is_compile_error(error):
                uncompilable.add(kinds(arguments))
            # torch's compiler names itself in the first line and the reason in the second.
            lines = str(error).strip().replace("raised:\n", "raised: ").splitlines() or [""]
            reason = f"{type(error).__name__}: {lines[0]}"
            if reason not in reasons:
                reasons.add(reason)
                name = f"{function.__module__}.{function.__name__}"
                message = f"{name} is computed by plain torch operations, its fast form failed: {reason}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
            return result

    return call


def kinds(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What compiled code depends on in the tensors among ``arguments``, except for their sizes."""
    tensors = (x for x in arguments if isinstance(x, torch.Tensor))
    return tuple((type(x), x.dtype, x.device.type, x.layout) for x in tensors)


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` says that memory ran out, by its class or by the messages of CPU and Triton."""
    messages = ("not enough memory", "can't allocate memory", "out of memory")
    by_class = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return by_class or (isinstance(error, RuntimeError) and any(text in str(error) for text in messages))


def is_compile_error(error: Exception) -> bool:
    """Whether ``error`` was raised by torch.compile, Triton or the compiler that they call."""
    compilers = ("torch._dynamo", "torch._inductor", "triton")
    by_class = any(cls.__module__.startswith(compilers) for cls in type(error).__mro__)
    return by_class or isinstance(error, subprocess.SubprocessError) or "compiler" in str(error).lower()
