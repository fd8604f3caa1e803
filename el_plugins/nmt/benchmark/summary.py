"""Everything the reports show, gathered from the runs that are complete."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from el_plugins.nmt.benchmark.runs import Run, read_result
from el_plugins.nmt.benchmark.sentences import bleu_by_length, most_changed
from el_plugins.nmt.benchmark.settings import Benchmark
from el_plugins.nmt.benchmark.statistics import METRICS, over_sentences
from el_plugins.nmt.score import read_lines
from el_plugins.nmt.scoring import detokenise, read_generated
from el_plugins.workflow.divergence import DIVERGED, describe
from el_plugins.workflow.paired import over_seeds
from el_plugins.workflow.results import spread

CHECKPOINTS = ("averaged", "best", "averaged_tuned")


class Text:
    """Plain text of the translations, read once."""

    def __init__(self, benchmark: Benchmark):
        self.data = benchmark.data
        self.kept: dict[Path, list[str]] = {}

    def references(self, subset: str) -> list[str]:
        """The references of ``subset``."""
        return read_lines(Path(self.data.references[subset]))

    def of(self, run: Run, row: Mapping[str, Any]) -> list[str]:
        """The translations that a row of scores is of."""
        path = run.folder / "translations" / row["translations"]
        if path not in self.kept:
            tokens = read_generated(path).hypotheses
            self.kept[path] = detokenise(tokens, self.data.detokenizer, self.data.target)
        return self.kept[path]


def summarise(benchmark: Benchmark, runs: Sequence[Run], failed: Mapping[str, str]) -> dict[str, Any]:
    """All figures of the reports; see the keys of the value returned.

    Raises:
        ValueError: no run is complete, or a run of every system diverged.
    """
    done = [run for run in runs if run.result.exists()]
    if not done:
        raise ValueError("no run is complete, so there is nothing to report")
    results = {(run.system.name, run.seed): read_result(run.result) for run in done}
    diverged = [
        {"system": name, "seed": seed, DIVERGED: found[DIVERGED]}
        for (name, seed), found in results.items()
        if DIVERGED in found
    ]
    # The other seeds of a system with such a run are the lucky ones: no mean and no test is made of them.
    broken = {row["system"] for row in diverged}
    done = [run for run in done if DIVERGED not in results[run.system.name, run.seed]]
    if broken and not any(run.system.name not in broken for run in done):
        where = ", ".join(f"{row['system']}/seed{row['seed']} {describe(row)}" for row in diverged)
        raise ValueError(f"there is nothing to report but runs that diverged: {where}")
    rows = [
        {"system": run.system.name, "seed": run.seed, **row}
        for run in done
        for row in results[run.system.name, run.seed]["scores"]
    ]
    whole = [row for row in rows if row["system"] not in broken]
    by_run = {(run.system.name, run.seed): run for run in done}
    sections = []
    for checkpoint in CHECKPOINTS:
        for subset in benchmark.data.references:
            chosen = [row for row in whole if (row["checkpoint"], row["subset"]) == (checkpoint, subset)]
            if chosen:
                sections.append(_section(benchmark, checkpoint, subset, chosen))
    text = Text(benchmark)
    comparisons = _test_sentences(benchmark, sections, whole, by_run, text, runs[0].output)
    return {
        "name": runs[0].output.name,
        "settings": asdict(benchmark),
        "systems": [system.name for system in benchmark.systems],
        "seeds": {
            system.name: [run.seed for run in done if run.system == system and system.name not in broken]
            for system in benchmark.systems
        },
        "failed": dict(failed),
        "diverged": diverged,  # system, seed and step
        "sections": sections,  # means over seeds, by checkpoint and subset
        "rows": rows,  # every score of every run
        "sentence_tests": comparisons,
        "curves": {run.name: results[run.system.name, run.seed]["curve"] for run in done},
        "tokens": {run.name: dict(np.load(run.folder / "tokens.npz")) for run in done},
        "training": {run.name: results[run.system.name, run.seed]["training"] for run in done},
        "lengths": _lengths(benchmark, whole, by_run, text),
        "changed": _changed(benchmark, whole, by_run, text),
        "versions": {run.name: results[run.system.name, run.seed]["versions"] for run in done},
        "commands": {run.name: _commands(run) for run in done},
    }


def _section(
    benchmark: Benchmark, checkpoint: str, subset: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One table: the systems of one checkpoint on one test subset."""
    systems: dict[str, dict[str, Any]] = {}
    baseline = benchmark.systems[0].name
    by_metric = {
        metric: {
            system.name: {row["seed"]: row[metric]["score"] for row in rows if row["system"] == system.name}
            for system in benchmark.systems
        }
        for metric in METRICS
    }
    for name in (system.name for system in benchmark.systems):
        own = [row for row in rows if row["system"] == name]
        if not own:
            continue
        scores: dict[str, Any] = {"seeds": len(own)}
        for metric in METRICS:
            mean, deviation = spread([row[metric]["score"] for row in own])
            scores[metric] = {"mean": mean, "sd": deviation}
            if name != baseline:
                scores[metric].update(over_seeds(by_metric[metric][name], by_metric[metric][baseline]))
        for figure in ("brevity_penalty", "length_ratio"):
            scores[figure] = spread([row["bleu"][figure] for row in own])[0]
        scores["length_penalties"] = [row["length_penalty"] for row in own]
        systems[name] = scores
    signatures = {metric: rows[0][metric]["signature"] for metric in METRICS}
    return {"checkpoint": checkpoint, "subset": subset, "systems": systems, "signatures": signatures}


def _test_sentences(benchmark, sections, rows, by_run, text: Text, output: Path) -> list[dict[str, Any]]:
    """Paired tests within each seed, a row for each system but the baseline, section and seed."""
    baseline = benchmark.systems[0].name
    found = []
    pairs = [(section, seed) for section in sections for seed in benchmark.seeds]
    for section, seed in tqdm(pairs, desc="paired tests", unit="test set"):
        place = (section["checkpoint"], section["subset"])
        mine = {
            row["system"]: row
            for row in rows
            if (row["checkpoint"], row["subset"]) == place and row["seed"] == seed
        }
        if baseline not in mine or len(mine) == 1:
            continue
        ordered = [baseline, *(name for name in mine if name != baseline)]
        translations = {name: text.of(by_run[name, seed], mine[name]) for name in ordered}
        tests = over_sentences(translations, text.references(section["subset"]), output / "paired_tests")
        for name in ordered[1:]:
            differences = {m: mine[name][m]["score"] - mine[baseline][m]["score"] for m in METRICS}
            p_values = {test: tests[test][name] for test in tests}
            row = {"system": name, "seed": seed, "checkpoint": place[0], "subset": place[1]}
            found.append({**row, "differences": differences, **p_values})
    return found


def _averaged(benchmark: Benchmark, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that sentences are shown of: averaged checkpoints on the first test subset."""
    subset = next(iter(benchmark.data.references))
    return [row for row in rows if (row["checkpoint"], row["subset"]) == ("averaged", subset)]


def _lengths(benchmark, rows, by_run, text: Text) -> dict[str, dict[str, float]]:
    """BLEU by length of the reference, mean over seeds, by system."""
    found: dict[str, list[dict[str, float]]] = {}
    for row in _averaged(benchmark, rows):
        translations = text.of(by_run[row["system"], row["seed"]], row)
        found.setdefault(row["system"], []).append(
            bleu_by_length(translations, text.references(row["subset"]))
        )
    return {
        name: {bucket: spread([one[bucket] for one in each])[0] for bucket in each[0]}
        for name, each in found.items()
    }


def _changed(benchmark, rows, by_run, text: Text) -> dict[str, list[dict[str, Any]]]:
    """The sentences that changed most against the baseline of the same, first common seed, by system."""
    averaged = {(row["system"], row["seed"]): row for row in _averaged(benchmark, rows)}
    baseline = benchmark.systems[0].name
    found = {}
    for system in benchmark.systems[1:]:
        seeds = [s for s in benchmark.seeds if (system.name, s) in averaged and (baseline, s) in averaged]
        if seeds:
            first, other = averaged[baseline, seeds[0]], averaged[system.name, seeds[0]]
            path = by_run[baseline, seeds[0]].folder / "translations" / first["translations"]
            sources = detokenise(
                read_generated(path).sources, benchmark.data.detokenizer, benchmark.data.source
            )
            found[system.name] = most_changed(
                sources,
                text.references(first["subset"]),
                text.of(by_run[baseline, seeds[0]], first),
                text.of(by_run[system.name, seeds[0]], other),
            )
    return found


def _commands(run: Run) -> list[str]:
    """The commands of a run, as its logs say, with paths from here: training, then translations."""
    logs = [run.log, *sorted((run.folder / "translations").glob("*.txt"))]
    firsts = [log.open(encoding="utf-8").readline().rstrip("\n") for log in logs]
    programs = re.compile(r"^\$ \S*/")
    return [programs.sub("", first.replace(f"{Path.cwd()}/", "")) for first in firsts]
