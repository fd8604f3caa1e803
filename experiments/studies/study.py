"""What a study is, and running one: every system with every seed, each result stored as soon as it exists.

A diverged training is a result, too: the study continues, and no rerun tries it again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState
from tqdm import tqdm

from el_plugins.metrics import NotFiniteError
from el_plugins.utils.divergence import DIVERGED, DivergedError, diverged_at
from el_plugins.utils.files import check_settings, read_json, write_json
from el_plugins.utils.statistics import paired_t_test
from el_plugins.utils.tables import format_interval
from experiments.studies.data import source
from experiments.studies.settings import Settings

# Measures by name, and whatever the study's figures need, by system and seed.
Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
SECONDS = "seconds"  # what a run took, beside its measures


@dataclass(frozen=True)
class Claim:
    """What the paper found: ``measure`` of ``system`` is higher than ``baseline``'s (or lower)."""

    system: str
    baseline: str
    measure: str
    paper: str  # its numbers and where they stand
    lower: bool = False
    data: str = ""  # the only data set that it is about, where the paper's differ

    def text(self) -> str:
        """The claim in words."""
        return f"{self.measure}: {self.system} {'below' if self.lower else 'above'} {self.baseline}"

    def verdict(self, results: Results) -> tuple[str, str]:
        """Whether our results have the paper's direction, and its significance.

        A run that diverged, or has nothing to measure, takes part in no comparison, and neither does its
        system: its other seeds would be a biased sample.
        """
        if any(diverged(results[name]) for name in (self.system, self.baseline)):
            return "no result", DIVERGED
        system, baseline = (
            {seed: measured[self.measure] for seed, measured in results[name].items()}
            for name in (self.system, self.baseline)
        )
        if None in (*system.values(), *baseline.values()):
            return "nothing to compare", "-"
        compared = paired_t_test(system, baseline)
        difference, p_value = compared["difference"], compared["p_value"]
        ours = f"{difference:+.2f}"
        if p_value is not None:
            ours += f" ({format_interval(compared['low'], compared['high'])}, p = {p_value:.2g})"
        if not difference:
            return "no difference", ours
        same = (difference < 0) == self.lower
        if p_value is not None and p_value < 0.05:
            return ("reproduced" if same else "opposite"), ours
        tested = "not significant" if p_value is not None else "not tested"
        return f"{'same' if same else 'opposite'} direction, {tested}", ours


@dataclass(frozen=True)
class Study:
    """A table of the paper.

    Args:
        title: its heading.
        paper: where the paper has it.
        systems: by name, the baseline first; the values are the study's own.
        run: one system with one seed: (settings, system, seed) to measures (numbers, by name, or None
            where there is nothing to measure) and anything else, that JSON can hold, for the figures.
        measures: format of each measure that the table shows.
        claims: what to compare with the paper.
        figures: by name, what draws one from (axes, results of the systems that did not diverge).
        defaults: settings in which the study differs.
        note: what a reader must know of how it is run.
        note_at_hand: the same of the default data.
    """

    title: str
    paper: str
    systems: Mapping[str, Any]
    run: Callable[[Settings, Any, int], Mapping[str, Any]]
    measures: Mapping[str, str]
    claims: Sequence[Claim]
    figures: Mapping[str, Callable[[Any, Results], None]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    note_at_hand: str = ""


def run_study(study: Study, settings: Settings, folder: Path) -> Results:
    """Run what is missing of ``study``; results are stored in ``folder``, one file per system and seed.

    Raises:
        ValueError: the folder holds results of other settings.
    """
    main = PartialState().is_main_process
    if main:
        check_settings(_recorded(settings), folder)
    results: dict[str, dict[int, Any]] = {name: {} for name in study.systems}
    pairs = [(seed, name) for seed in settings.seeds for name in study.systems]
    # Every process of torchrun trains every run with the others, so none can be ahead by a run.
    for seed, name in tqdm(pairs, desc=folder.name, unit="run", disable=None if main else True):
        path = run_path(folder, name, seed)
        if path.exists():
            measured = read_json(path)
        else:
            started = time.monotonic()
            measured = {**_measured(study, settings, name, seed), SECONDS: time.monotonic() - started}
            if main:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, measured)
        if main and DIVERGED in measured:
            tqdm.write(
                f"{name}, seed {seed}: {diverged_at(measured[DIVERGED])}; to try it again, delete {path}",
                sys.stderr,
            )
        results[name][seed] = measured
    return results


def stored_results(study: Study, settings: Settings, folder: Path) -> Results:
    """What :func:`run_study` has already kept in ``folder``, of the settings' seeds; nothing is run.

    Raises:
        ValueError: the folder holds results of other settings.
    """
    if folder.exists():
        check_settings({**_recorded(settings), "data": stored_source(settings, folder)}, folder)
    paths = {name: {seed: run_path(folder, name, seed) for seed in settings.seeds} for name in study.systems}
    return {
        name: {seed: read_json(path) for seed, path in by_seed.items() if path.exists()}
        for name, by_seed in paths.items()
    }


def stored_source(settings: Settings, folder: Path) -> str:
    """:func:`source` of the results stored in ``folder``, else of the data at hand."""
    path = folder / "settings.json"
    recorded = str(read_json(path).get("data")) if path.exists() else ""
    return recorded if recorded.split(" ")[0] == settings.data else source(settings)


def _recorded(settings: Settings) -> dict[str, Any]:
    """What all results of a folder share."""
    shared = {
        name: value
        for name, value in asdict(settings).items()
        if name not in ("seeds", "workers", "root", "note")
    }
    shared["data"] = source(settings)
    shared["processes"] = PartialState().num_processes  # each has its own batch
    return shared


def _measured(study: Study, settings: Settings, name: str, seed: int) -> Mapping[str, Any]:
    """What a run measures, or the step at which it diverged; None if the model's outputs are not finite."""
    try:
        measured = study.run(settings, study.systems[name], seed)
        return measured if is_finite(measured) else {DIVERGED: None}
    except DivergedError as error:
        return {DIVERGED: error.step}
    except NotFiniteError:
        return {DIVERGED: None}


def is_finite(measured: Mapping[str, Any]) -> bool:
    """Whether all numbers of ``measured`` are finite: one may overflow even if the outputs did not."""
    try:
        json.dumps(measured, allow_nan=False)
    except ValueError:
        return False
    return True


def diverged(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """The runs of a system that diverged, by seed."""
    return {seed: measured for seed, measured in by_seed.items() if DIVERGED in measured}


def run_path(folder: Path, system: str, seed: int) -> Path:
    """The file of one run's measures."""
    name = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in system)
    return folder / "runs" / f"{name}-seed{seed}.json"
