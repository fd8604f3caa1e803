"""Read the results of a benchmark's runs, which its sections, tables and pages are made from."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from el_plugins.nmt.benchmark.cache import cached
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.settings import POOLED, Benchmark
from el_plugins.nmt.parallel import read_raw_lines
from el_plugins.nmt.scoring import (
    Translations,
    detokenise,
    read_generated,
    score_text,
    score_tokenised,
    split_by,
)
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import read_text

# System, seed, checkpoint, subset.
Place = tuple[str, int, str, str]


@dataclass
class Results:
    """Scores, and the other outputs of complete runs.

    Args:
        rows: of ``results.jsonl``: the scores of a (system, seed, checkpoint, subset); for a diverged run
            its system, its seed and ``diverged``, the step (None: after the last one), without a score.
        failed: the reason, by name of the run.
        runs: ``averaged``, ``curve``, ``training``, ``versions``, ``commands`` and ``tokens``, as far as
            available, by name of the run.
        translations: plain text by :data:`Place`.
        sources: plain text by subset.
        references: plain text by subset.
        cache: folder for tests of translations that take minutes to compute.
    """

    name: str
    benchmark: Benchmark
    rows: list[dict[str, Any]]
    failed: Mapping[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    translations: dict[Place, list[str]] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)
    references: dict[str, list[str]] = field(default_factory=dict)
    cache: Path = Path("paired_tests")

    @property
    def systems(self) -> list[str]:
        """Names of all systems, the baseline first."""
        return [system.name for system in self.benchmark.systems]

    @property
    def diverged(self) -> dict[str, dict[int, int | None]]:
        """The step at which runs diverged, by system and seed."""
        steps: dict[str, dict[int, int | None]] = {name: {} for name in self.systems}
        for row in self.rows:
            if DIVERGED in row:
                steps[row["system"]][row["seed"]] = row[DIVERGED]
        return steps

    def outputs(self, key: str) -> dict[str, Any]:
        """The output ``key`` of the runs that have it, by name of the run."""
        return {name: run[key] for name, run in self.runs.items() if run.get(key)}


def by_update(curve: Mapping[str, Mapping[str, str]], figure: str) -> dict[int, float]:
    """The finite values of a validation figure by update, in their order."""
    values = {int(update): float(figures[figure]) for update, figures in curve.items() if figure in figures}
    return {update: values[update] for update in sorted(values) if math.isfinite(values[update])}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``results.jsonl``."""
    return [json.loads(line) for line in read_text(path).splitlines()]


def read_runs(benchmark: Benchmark, runs: Sequence[Run], failed: Mapping[str, str]) -> Results:
    """The results of those of ``runs`` that are complete.

    Raises:
        ValueError: no run is complete.
    """
    complete = [run for run in runs if run.result.exists()]
    if not complete:
        raise ValueError("no run is complete, so there is nothing to report")
    results = Results(runs[0].output.name, benchmark, [], failed, cache=runs[0].output / "paired_tests")
    results.references = {
        name: read_raw_lines(Path(file)) for name, file in benchmark.data.references.items()
    }
    for run in complete:
        result = run.read_result()
        names = {"system": run.system.name, "seed": run.seed}
        others: dict[str, Any] = {
            key: result[key] for key in ("averaged", "curve", "training", "versions") if key in result
        }
        results.runs[run.name] = {**others, **_tokens(run), "commands": _commands(run)}
        if DIVERGED in result:
            results.rows.append({**names, DIVERGED: result[DIVERGED]})
        else:
            rows = [{**names, **row} for row in result["scores"]]
            results.rows += rows + _read_translations(results, run, rows)
    if len(results.references) > 1:
        results.references[POOLED] = _concatenate(results.references, benchmark)
        if results.sources.keys() >= benchmark.data.references.keys():
            results.sources[POOLED] = _concatenate(results.sources, benchmark)
    return results


def _concatenate(lines: Mapping[str, list[str]], benchmark: Benchmark) -> list[str]:
    """The lines of all test subsets, in the order of the settings."""
    return [line for subset in benchmark.data.references for line in lines[subset]]


def _read_translations(results: Results, run: Run, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the translations of a run to ``results``; the rows of its pooled scores."""
    data, pooled = run.benchmark.data, []
    for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
        generated: dict[str, Translations] = {}
        texts: dict[str, list[str]] = {}
        chosen = [row for row in rows if row["checkpoint"] == checkpoint]
        for row in chosen:
            path, subset = run.translations / row["translations"], row["subset"]
            if path.exists():
                generated[subset] = read_generated(path)
                texts[subset] = detokenise(generated[subset].hypotheses, data.detokenizer, data.target)
                if subset not in results.sources:
                    sources = generated[subset].sources
                    results.sources[subset] = detokenise(sources, data.detokenizer, data.source)
        if len(data.references) > 1 and generated.keys() == data.references.keys():
            scores = _score_pooled(results, generated, texts)
            shared = {key: chosen[0][key] for key in ("system", "seed", "checkpoint", "length_penalty")}
            files = [row["translations"] for row in chosen]
            pooled.append({**shared, "subset": POOLED, "translations": files, **scores})
            texts[POOLED] = _concatenate(texts, run.benchmark)
        for subset, lines in texts.items():
            results.translations[run.system.name, run.seed, checkpoint, subset] = lines
    return pooled


def _score_pooled(
    results: Results, generated: Mapping[str, Translations], texts: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Corpus scores of all test subsets as one test set."""
    benchmark, language = results.benchmark, results.benchmark.data.target
    tokens = _concatenate({name: one.hypotheses for name, one in generated.items()}, benchmark)
    token_references = _concatenate({name: one.references for name, one in generated.items()}, benchmark)
    text, references = _concatenate(texts, benchmark), _concatenate(results.references, benchmark)
    return cached(
        results.cache.with_name("pooled_scores"),
        [tokens, token_references, text, references, *split_by(language)],
        lambda: {
            **score_tokenised(tokens, token_references, language),
            **score_text(text, references, language),
        },
    )


def _tokens(run: Run) -> dict[str, Any]:
    """The measures of every target token, if the file exists."""
    path = run.folder / "tokens.npz"
    if not path.exists():
        return {}
    try:
        with np.load(path) as measures:
            return {"tokens": dict(measures)}
    except (BadZipFile, EOFError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it and {run.result.name} beside it, and it is made again"
        ) from error


def _commands(run: Run) -> list[str]:
    """The commands of a run from its logs, with relative paths: training, then translations."""
    logs = [run.log, *sorted(run.translations.glob("*.txt"))]
    firsts = []
    for log in filter(Path.exists, logs):
        with log.open(encoding="utf-8") as file:
            firsts.append(file.readline().rstrip("\n"))
    program = re.compile(r"^\$ \S*/")
    lines = [first.replace(f"{Path.cwd()}/", "") for first in firsts if program.match(first)]
    return [program.sub("", line) for line in lines]
