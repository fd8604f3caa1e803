"""The key-value store in which several machines meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.distributed import TCPStore


class Store(TCPStore):
    """A TCPStore that says at once whether keys are there; torch 2.2's can be asked so in C++ only.

    What this class sets, it counts beside the value: adding 0 to a count reads it without waiting.
    """

    def set(self, key: str, value: Any) -> None:
        """Store ``value``, text or bytes, under ``key``."""
        super().set(key, value)
        self.add(f"set {key}", 1)

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all ``keys`` have been set."""
        return all(self.add(f"set {key}", 0) for key in keys)
