"""A training that diverged: it stops, and leaves the number of the step instead of any score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIVERGED = "diverged"  # key of the step in a run's JSON
MARK = f"*{DIVERGED}*"  # what tables show


class DivergedError(FloatingPointError):
    """The loss of a training step is not finite.

    Args:
        step: its number, from 1.
    """

    def __init__(self, step: int):
        super().__init__(f"diverged at step {step}: the loss is not finite")
        self.step = step


def describe(record: Mapping[str, Any]) -> str:
    """A run's record in words; its step is None where only the trained model's outputs are not finite."""
    step = record[DIVERGED]
    return "diverged after the last step" if step is None else f"diverged at step {step}"
