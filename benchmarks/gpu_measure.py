"""GPU time, host time and peak memory of a call, run again and again on the same inputs."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import peak_memory as peak_memory_of_cpu

WARM_UP = 3
FLUSHED = 2**28  # bytes, several times an L2 cache
AHEAD = 2_000_000  # GPU cycles, about a millisecond, in which the host queues the call


def measure(prepare: Callable[[], Callable[[], Any]], runs: int, device: str) -> dict[str, float]:
    """Times and memory of the call that ``prepare`` gives.

    Args:
        prepare: makes the inputs and gives the call.
        runs: how often it is timed, after a few runs that are not.
        device: ``cuda``; ``cpu`` tries the program out where there is no GPU.

    Returns:
        ``milliseconds`` on the GPU (the median), ``fastest`` and ``slowest``, with the inputs out of its
        cache and the call queued before the GPU begins; ``host``, the milliseconds it takes to queue it;
        ``memory``, the peak in bytes beyond the inputs.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()  # what the peer before has left
    call = prepare()
    for _ in range(WARM_UP):
        call()
    memory = peak_memory(call, device)
    flushed = torch.empty(FLUSHED if device == "cuda" else 1, dtype=torch.int8, device=device)
    spans, host = [], []
    for _ in range(runs):
        wait(device)
        if device == "cuda":
            torch.cuda._sleep(AHEAD)
        flushed.zero_()
        begin = mark(device)
        started = time.perf_counter()
        call()
        host.append(1e3 * (time.perf_counter() - started))
        spans.append((begin, mark(device)))
    wait(device)
    times = [begin.elapsed_time(end) if device == "cuda" else 1e3 * (end - begin) for begin, end in spans]
    return {
        "milliseconds": statistics.median(times),
        "fastest": min(times),
        "slowest": max(times),
        "host": statistics.median(host),
        "memory": memory,
    }


def peak_memory(call: Callable[[], Any], device: str) -> float:
    """Bytes that ``call`` needs at its peak beyond what is there before it."""
    if device != "cuda":
        return peak_memory_of_cpu(call)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before


def wait(device: str) -> None:
    """Until the GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def mark(device: str) -> Any:
    """A point in time: of the GPU's queue, or of the CPU."""
    if device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def machine() -> str:
    """The card and what runs on it."""
    versions = f"CUDA {torch.version.cuda}, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name()}, {versions}"
