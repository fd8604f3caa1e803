"""The progress of all runs: a bar in a terminal, elsewhere a line for each step of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.training import max_updates
from el_plugins.utils.files import read_json


class Progress:
    """A bar of all updates, with the numbers of runs done and failed and the stage of the active ones."""

    def __init__(self, runs: Sequence[Run]):
        self.runs = runs
        self.total = {run.name: max_updates(run) for run in runs}
        total = None if None in self.total.values() else sum(filter(None, self.total.values()))
        self.bar = tqdm(
            total=total, unit="update", desc=f"{len(runs)} runs", initial=self.updates(), disable=None
        )
        self.said: dict[str, str] = {}  # the last stage that a line told, by run

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.bar.write(line, file=sys.stderr)

    def updates(self) -> int:
        """Updates done in all runs."""
        return sum(read_progress(run).get("updates", 0) for run in self.runs)

    def show(self, active: Sequence[Run], failed: int) -> None:
        """Bring the bar up to date, or tell what is new."""
        if self.bar.disable:
            self._tell({run.name: read_progress(run).get("stage", "starting") for run in active})
            return
        self.bar.n = max(self.bar.n, self.updates())
        stages = [(run.name, read_progress(run)) for run in active]
        speed = sum(stage.get("words_per_second", 0) for _, stage in stages)
        done = sum(run.result.exists() for run in self.runs)
        doing = ", ".join(f"{name} {stage.get('stage', 'starting')}" for name, stage in stages[:3])
        more = f" and {len(stages) - 3} more" if len(stages) > 3 else ""
        words = f", {speed:.0f} words/s" if speed else ""
        self.bar.set_postfix_str(f"{done} done, {failed} failed, {len(active)} running: {doing}{more}{words}")

    def _tell(self, stages: Mapping[str, str]) -> None:
        for name, stage in stages.items():
            if self.said.get(name) != stage:
                self.say(f"{name}: {stage}")
        self.said.update(stages)


def read_progress(run: Run) -> dict[str, Any]:
    """What ``run`` reported last; empty before it has reported anything."""
    path = run.folder / "progress.json"
    return read_json(path) if path.exists() else {}
