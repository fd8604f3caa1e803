"""Diverged trainings: they stop, and their result is the number of the step instead of a score."""

from __future__ import annotations

DIVERGED = "diverged"  # key of the step in a run's JSON
MARK = f"*{DIVERGED}*"  # shown in tables


class DivergedError(FloatingPointError):
    """The loss of a training step is not finite.

    Args:
        step: its number, from 1.
    """

    def __init__(self, step: int):
        super().__init__(f"{diverged_at(step)}: the loss is not finite")
        self.step = step


def diverged_at(step: int | None) -> str:
    """When a run diverged, in words; ``step`` is None if only the trained model's outputs are not finite."""
    return "diverged after the last step" if step is None else f"diverged at step {step}"
