"""Seconds and peak memory of one call on a CPU."""

from __future__ import annotations

import csv
import gc
import io
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from el_plugins.utils.files import write_text

REUSED = "rows, memory reused"  # the cases measured where glibc reuses its memory
RESULTS = Path("outputs/benchmarks")  # default output of the programs


def machine() -> str:
    """What is measured on: CPU, Python, torch."""
    cpu = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if "model name" in line]
    name = f"{len(models)} cores of {models[0]}" if models else platform.machine()
    return f"{name}, Python {platform.python_version()}, torch {torch.__version__}"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def resume(path: Path, here: str) -> list[dict[str, Any]]:
    """The rows that an earlier start has written; none if there is no file.

    Raises:
        ValueError: some are of another machine than ``here``, or of another release of torch.
    """
    lines: list[dict[str, Any]] = [*read(path)] if path.exists() else []
    for line in lines:
        if line.get("machine") != here:
            raise ValueError(
                f"{path} holds figures of {line.get('machine')}, not of {here}: name another folder"
            )
    return lines


def write(path: Path, lines: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Rows as a CSV, whole or not at all; its folder is made if missing.

    Args:
        columns: their order (default: the first row's).
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(lines[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def peak_memory(call: Callable[[], Any]) -> float:
    """Bytes that ``call`` needs at its peak beyond what is there before it (Linux)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of the resident set
    before = resident("VmRSS")
    call()
    return max(resident("VmHWM") - before, 0)


def resident(field: str) -> int:
    """A field of this process' memory status, in bytes."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


def compare(
    peers: Mapping[str, Callable[[], Callable[[], Any]]], repeats: int
) -> dict[str, dict[str, float]]:
    """Time and memory of every peer, taken in turns so that a slow moment of the machine affects them all.

    Args:
        peers: by name, a function that makes fresh inputs and gives the call to measure.
        repeats: rounds; one more before them is not counted.

    Returns:
        By name ``seconds`` (the median), ``fastest``, ``slowest`` and ``memory`` in bytes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    memory: dict[str, list[float]] = {name: [] for name in peers}
    for round_ in range(repeats + 1):
        for name, prepare in peers.items():
            torch.manual_seed(round_)
            call = prepare()

            def timed(call=call, name=name):
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)

            memory[name].append(peak_memory(timed))
            del call, timed
    return {
        name: {
            "seconds": statistics.median(seconds[name][1:]),
            "fastest": min(seconds[name][1:]),
            "slowest": max(seconds[name][1:]),
            "memory": statistics.median(memory[name][1:]),
        }
        for name in peers
    }
