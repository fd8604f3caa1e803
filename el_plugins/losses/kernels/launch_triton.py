"""A launch of a Triton kernel as a value, so that it can also be compiled without a GPU."""

from __future__ import annotations

from typing import Any, NamedTuple


class Launch(NamedTuple):
    """A kernel and what it is called with."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: dict[str, Any]  # of its code, and the number of warps

    def run(self) -> None:
        """Start it, unless there is nothing to do."""
        if self.programs:
            self.kernel[(self.programs,)](*self.arguments, **self.constants)
