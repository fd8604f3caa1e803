"""Figures from fairseq's logs with ``--log-format json``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# fairseq raises these if gradients are not finite; in half precision only at the smallest loss scale, since
# it skips steps before that. With several processes it lists the norms of all.
DIVERGENCE = re.compile(
    r"FloatingPointError: (gradients are Nan/Inf|(AMP: )?Minimum loss scale reached)|^rank +\d+ = (nan|inf)$",
    re.MULTILINE,
)


def training_line(line: str) -> dict[str, Any]:
    """The figures of one log line of a training step or validation, by name; empty for other lines.

    So is a line that a full disk or a loss of power has cut short.
    """
    parts = line.split(" | ", 3)
    if len(parts) < 4 or not parts[3].startswith('{"'):
        return {}
    try:
        return json.loads(parts[3])
    except json.JSONDecodeError:
        return {}


def nonfinite_update(figures: Mapping[str, Any]) -> int | None:
    """The update at which a loss of a :func:`training_line` is not finite; None if all are finite."""
    losses = [float(value) for name, value in figures.items() if name.endswith("loss")]
    updates = [int(value) for name, value in figures.items() if name.endswith("num_updates")]
    return None if all(map(math.isfinite, losses)) else max(updates, default=0)


def ended_by_divergence(log: Path) -> bool:
    """Whether the last command of a log gave up because its gradients were not finite."""
    last = log.read_text(encoding="utf-8").rpartition("\n$ ")[2]
    return DIVERGENCE.search(last) is not None


def validations(log: Path) -> dict[int, dict[str, Any]]:
    """The validation figures of a training log by number of updates; the last one counts if repeated."""
    figures_of = {}
    for figures in _figures(log):
        if "valid_num_updates" in figures:
            figures_of[int(figures["valid_num_updates"])] = figures
    return figures_of


def training_cost(log: Path) -> tuple[float, float]:
    """(seconds in training steps, target words per second) over all epochs of a log."""
    epochs = {figures["epoch"]: figures for figures in _figures(log) if "train_train_wall" in figures}
    seconds = words = 0.0
    updates_before = 0
    for _, figures in sorted(epochs.items()):
        updates = int(figures["train_num_updates"])
        words += (updates - updates_before) * float(figures["train_wpb"])
        seconds += float(figures["train_train_wall"])
        updates_before = updates
    return seconds, words / seconds if seconds else 0.0


def gpu_memory(log: Path) -> float | None:
    """Peak memory of the tensors on the first GPU over the steps logged, in GiB; None on a CPU."""
    total = re.search(r"total memory = ([\d.]+) GB", log.read_text(encoding="utf-8"))
    free = [float(figures["gb_free"]) for figures in _figures(log) if "gb_free" in figures]
    return float(total[1]) - min(free) if total and free else None


def _figures(log: Path) -> list[dict[str, Any]]:
    with log.open(encoding="utf-8") as lines:
        return [figures for line in lines if (figures := training_line(line))]
