"""Compute the figures of the reports from the results: means, comparisons, tests and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.sentences import bleu_by_length, most_changed
from el_plugins.nmt.benchmark.settings import POOLED, Benchmark
from el_plugins.nmt.benchmark.statistics import METRICS, compare, holm, over_sentences
from el_plugins.utils.statistics import mean_std

CHECKPOINTS = ("averaged", "best", "averaged_tuned")

# The rows of a system by seed.
BySeed = Mapping[int, Mapping[str, Any]]


def summarise(results: Results) -> dict[str, Any]:
    """All figures of the reports; the keys are listed below.

    The first section is the headline: the averaged checkpoint on all test subsets pooled, or on the first.
    """
    benchmark = results.benchmark
    names = [system.name for system in benchmark.systems]
    diverged = {
        name: {r["seed"]: r["diverged"] for r in results.rows if r["system"] == name and "diverged" in r}
        for name in names
    }
    sections = [
        section(names, checkpoint, subset, rows, diverged)
        for (checkpoint, subset), rows in by_place(benchmark, results.rows).items()
    ]
    headline = sections[0]
    return {
        "name": results.name,
        "settings": asdict(benchmark),
        "systems": names,
        "rows": results.rows,  # every score of every run
        "failed": dict(results.failed),
        "diverged": diverged,  # step by system and seed
        "sections": sections,  # means over seeds, by checkpoint and subset
        "sentence_tests": [
            test for one in tqdm(sections, desc="paired tests", disable=None) for test in tests(results, one)
        ],
        "curves": _by_run(results, "curve"),
        "tokens": _by_run(results, "tokens"),
        "training": _by_run(results, "training"),
        "versions": _by_run(results, "versions"),
        "commands": _by_run(results, "commands"),
        "lengths": lengths(results, headline),
        "changed": changed(results, headline),
    }


def by_place(
    benchmark: Benchmark, rows: list[dict[str, Any]]
) -> dict[tuple[str, str], dict[str, dict[int, dict[str, Any]]]]:
    """Rows of scores by (checkpoint, subset), system and seed, in the order of the report.

    If every run diverged there are no scores: one place without rows.
    """
    places: dict[tuple[str, str], dict[str, dict[int, dict[str, Any]]]] = {
        (checkpoint, subset): {}
        for checkpoint in CHECKPOINTS
        for subset in (POOLED, *benchmark.data.references)
    }
    for row in rows:
        if "diverged" not in row:
            by_system = places.setdefault((row["checkpoint"], row["subset"]), {})
            by_system.setdefault(row["system"], {})[row["seed"]] = row
    scored = {place: by_system for place, by_system in places.items() if by_system}
    return scored or {(CHECKPOINTS[0], next(iter(benchmark.data.references))): {}}


def section(
    names: list[str],
    checkpoint: str,
    subset: str,
    rows: Mapping[str, BySeed],
    diverged: Mapping[str, Mapping[int, int | None]],
) -> dict[str, Any]:
    """Scores of the systems with one kind of checkpoint on one test subset.

    A system with a diverged run has neither means nor comparisons: its other seeds would be a biased sample.

    Args:
        names: the systems, the baseline first.
        rows: by system and seed.
        diverged: the step by system and seed.
    """
    baseline = names[0]
    systems: dict[str, dict[str, Any]] = {}
    for name in names:
        own = rows.get(name, {})
        if own or diverged[name]:
            systems[name] = {"seeds": sorted({*own, *diverged[name]}), **_means(own, bool(diverged[name]))}
    for metric in METRICS:
        scores = {
            name: {seed: row[metric]["score"] for seed, row in rows.get(name, {}).items()} for name in names
        }
        compared = {
            name: compare(scores[name], scores[baseline], bool(diverged[name] or diverged[baseline]))
            for name in systems
            if name != baseline
        }
        corrected = holm({name: one["p_value"] for name, one in compared.items()})
        for name, one in compared.items():
            systems[name][metric].update(one, holm=corrected[name])
    first = next((row for own in rows.values() for row in own.values()), None)
    signatures = {metric: first[metric]["signature"] for metric in METRICS} if first else {}
    return {"checkpoint": checkpoint, "subset": subset, "systems": systems, "signatures": signatures}


def _means(rows: BySeed, diverged: bool) -> dict[str, Any]:
    """Mean and standard deviation of each score over seeds, and mean lengths; None if a run diverged."""
    means: dict[str, Any] = {"length_penalties": [row["length_penalty"] for row in rows.values()]}
    for metric in METRICS:
        mean, deviation = (
            (None, None) if diverged else mean_std([row[metric]["score"] for row in rows.values()])
        )
        means[metric] = {"mean": mean, "sd": deviation}
    for figure in ("brevity_penalty", "length_ratio"):
        means[figure] = None if diverged else mean_std([row["bleu"][figure] for row in rows.values()])[0]
    return means


def tests(results: Results, section: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Paired tests over sentences within each seed, a row for each system but the baseline.

    If one run of a pair diverged, ``differences`` is None; if one is incomplete, there is no row.
    """
    names = [system.name for system in results.benchmark.systems]
    place = {"checkpoint": section["checkpoint"], "subset": section["subset"]}
    rows = {
        (row["system"], row["seed"]): row
        for row in results.rows
        if "diverged" in row or all(row[key] == value for key, value in place.items())
    }
    all_tests: list[dict[str, Any]] = []
    for seed in results.benchmark.seeds:
        available = [name for name in names if (name, seed) in rows]
        if names[0] not in available:
            continue
        scored = [name for name in available if "diverged" not in rows[name, seed]]
        texts = {name: results.translations.get((name, seed, *place.values())) for name in scored}
        complete = {name: text for name, text in texts.items() if text is not None}
        p_values: Mapping[str, Any] = {}
        if names[0] in complete and len(complete) > 1:
            p_values = over_sentences(complete, results.references[place["subset"]], results.cache)
        for name in available[1:]:
            row = {"system": name, "seed": seed, **place, "differences": None}
            if names[0] in scored and name in scored:
                if name not in complete or not p_values:
                    continue
                pair = rows[name, seed], rows[names[0], seed]
                row["differences"] = {m: pair[0][m]["score"] - pair[1][m]["score"] for m in METRICS}
                row.update({test: by_system[name] for test, by_system in p_values.items()})
            all_tests.append(row)
    return all_tests


def lengths(results: Results, headline: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean BLEU over seeds by length of the reference, by system, without systems that diverged."""
    by_system: dict[str, dict[str, float]] = {}
    place = headline["checkpoint"], headline["subset"]
    for name, figures in headline["systems"].items():
        texts = [results.translations.get((name, seed, *place)) for seed in figures["seeds"]]
        each = [bleu_by_length(text, results.references[place[1]]) for text in texts if text is not None]
        if each and len(each) == len(texts):
            by_system[name] = {bucket: mean_std([one[bucket] for one in each])[0] for bucket in each[0]}
    return by_system


def changed(results: Results, headline: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sentences that changed most against the baseline in the first common seed, by system."""
    place = headline["checkpoint"], headline["subset"]
    baseline, *others = results.benchmark.systems
    examples = {}
    for system in others:
        for seed in results.benchmark.seeds:
            first, other = (
                results.translations.get((name, seed, *place)) for name in (baseline.name, system.name)
            )
            if first is not None and other is not None:
                pair = results.sources[place[1]], results.references[place[1]]
                examples[system.name] = {"seed": seed, **most_changed(*pair, first, other)}
                break
    return examples


def _by_run(results: Results, key: str) -> dict[str, Any]:
    """The output ``key`` of complete runs, by name of the run."""
    return {name: run[key] for name, run in results.runs.items() if run.get(key)}
