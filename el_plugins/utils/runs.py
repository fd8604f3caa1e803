"""A run of a benchmark: a system with a seed, its folder, and the guard that keeps settings from mixing."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_plugins.utils.divergence import DIVERGED, diverged_at
from el_plugins.utils.files import check_settings, read_json
from el_plugins.utils.locks import locked

NAME = re.compile(r"\w[\w.+-]*")


def check_names(systems: Sequence[str], seeds: Sequence[int]) -> None:
    """Raise ValueError unless each list has an entry and no two alike, and the systems can be folders."""
    # Some file systems ignore case.
    for what, entries, keys in (
        ("systems", systems, [name.casefold() for name in systems]),
        ("seeds", seeds, seeds),
    ):
        if not entries or len(set(keys)) < len(entries):
            how = " (case ignored)" if what == "systems" else ""
            raise ValueError(f"{what} must be one or more, all different{how}, got {list(entries)}")
    for name in systems:
        if not NAME.fullmatch(name):
            raise ValueError(f"a system's name becomes a folder's: letters, digits, . + - _, got {name!r}")


@dataclass(frozen=True)
class BenchmarkRun(ABC):
    """A system with a seed, in its own folder under ``output``; each benchmark has its own subclass."""

    benchmark: Any
    system: Any
    seed: int
    output: Path

    @property
    def name(self) -> str:
        """For messages: system/seed."""
        return f"{self.system.name}/seed{self.seed}"

    @property
    def folder(self) -> Path:
        """All files of this run."""
        return self.output / "runs" / self.system.name / f"seed{self.seed}"

    @property
    def result(self) -> Path:
        """Exists if the run is complete, or its training diverged."""
        return self.folder / "result.json"

    def read_result(self) -> dict[str, Any]:
        """What a complete run wrote."""
        return read_json(self.result)

    @property
    @abstractmethod
    def training_settings(self) -> dict[str, Any]:
        """What the trained model depends on; JSON-serialisable."""

    def check(self) -> None:
        """Raise ValueError if the folder holds a training with other settings or other data."""
        if self.folder.exists():
            check_settings(self.training_settings, self.folder)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """The folder, made if missing, for this process alone; see :func:`~el_plugins.utils.locks.locked`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock") as lock:
            yield lock


def announce(runs: Sequence[BenchmarkRun]) -> None:
    """Print how many of ``runs`` are complete already, and which of them diverged."""
    complete = [run for run in runs if run.result.exists()]
    print(f"{len(runs)} runs in {runs[0].output}, {len(complete)} of them complete already")
    for run in complete:
        if DIVERGED in (record := run.read_result()):
            print(f"{run.name} {diverged_at(record[DIVERGED])} before; to try again, delete {run.folder}")
