"""The report's sections: the scores of one test subset with one kind of checkpoint, and what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.settings import POOLED
from el_plugins.nmt.benchmark.statistics import METRICS, compare, holm, over_sentences
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.statistics import mean_std

# Kinds of checkpoints and their titles, in the order of the report.
CHECKPOINTS = {
    "averaged": "averaged checkpoint",
    "best": "best checkpoint",
    "averaged_tuned": "averaged checkpoint, length penalty tuned on the validation set",
}

Row = dict[str, Any]
Texts = dict[tuple[str, int], list[str]]  # plain text by system and seed


@dataclass(frozen=True)
class Section:
    """All systems with one kind of checkpoint on one test subset.

    Args:
        checkpoint: one of :data:`CHECKPOINTS`.
        subset: a test subset, or all of them pooled.
        names: the systems, the baseline first.
        diverged: step by system and seed.
        rows: the scores, and the runs that diverged.
        systems: means and comparisons by system, without systems that have no run.
        tests: paired tests over sentences, a row for each system and seed.
    """

    checkpoint: str
    subset: str
    names: Sequence[str]
    diverged: Mapping[str, Mapping[int, int | None]]
    rows: Sequence[Row]
    systems: Mapping[str, Mapping[str, Any]]
    tests: Sequence[Row]

    @property
    def baseline(self) -> str:
        """Name of the system that the others are compared with."""
        return self.names[0]

    @property
    def signatures(self) -> dict[str, str]:
        """sacrebleu's signatures by metric; none without scores."""
        first = next(filter(is_scored, self.rows), None)
        return {metric: first[metric]["signature"] for metric in METRICS} if first else {}


def make_sections(results: Results) -> list[Section]:
    """The sections in the order of the report.

    The first is the headline: the averaged checkpoint on all test subsets pooled, or on the only subset.
    """
    names, sections = results.systems, []
    for (checkpoint, subset), rows in tqdm(by_place(results).items(), desc="paired tests", disable=None):
        texts = {
            (name, seed): lines
            for (name, seed, *place), lines in results.translations.items()
            if place == [checkpoint, subset]
        }
        systems = means_and_comparisons(names, rows)
        references, language = results.references.get(subset, []), results.benchmark.data.target
        tests = sentence_tests(names, rows, texts, references, results.cache, language)
        sections.append(Section(checkpoint, subset, names, results.diverged, rows, systems, tests))
    return sections


def by_place(results: Results) -> dict[tuple[str, str], list[Row]]:
    """Rows by (checkpoint, subset), in the order of the report; runs that diverged are in each.

    If every run diverged there are no scores: one place.
    """
    scored = [(row["checkpoint"], row["subset"]) for row in results.rows if is_scored(row)]
    subsets = list(results.benchmark.data.references)
    ordered = [(checkpoint, subset) for checkpoint in CHECKPOINTS for subset in (POOLED, *subsets)]
    places = [place for place in dict.fromkeys([*ordered, *scored]) if place in scored]
    return {
        place: [
            row for row in results.rows if not is_scored(row) or (row["checkpoint"], row["subset"]) == place
        ]
        for place in places or [(ordered[0][0], subsets[0])]
    }


def is_scored(row: Row) -> bool:
    """Whether a row has scores: its run did not diverge."""
    return DIVERGED not in row


def means_and_comparisons(names: Sequence[str], rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Means over seeds of each system, and the others' differences from the first.

    A system with a diverged run has neither means nor comparisons: its other seeds would be a biased sample.
    """
    scored: dict[str, dict[int, Row]] = {name: {} for name in names}
    diverged: dict[str, list[int]] = {name: [] for name in names}
    for row in rows:
        if is_scored(row):
            scored[row["system"]][row["seed"]] = row
        else:
            diverged[row["system"]].append(row["seed"])
    systems: dict[str, dict[str, Any]] = {
        name: {
            "seeds": sorted({*scored[name], *diverged[name]}),
            **_means(scored[name], bool(diverged[name])),
        }
        for name in names
        if scored[name] or diverged[name]
    }
    baseline = names[0]
    for metric in METRICS:
        scores = {name: {seed: row[metric]["score"] for seed, row in scored[name].items()} for name in names}
        compared = {
            name: compare(scores[name], scores[baseline], bool(diverged[name] or diverged[baseline]))
            for name in systems
            if name != baseline
        }
        corrected = holm({name: one["p_value"] for name, one in compared.items()})
        for name, one in compared.items():
            systems[name][metric].update(one, holm=corrected[name])
    return systems


def _means(rows: Mapping[int, Row], diverged: bool) -> dict[str, Any]:
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


def sentence_tests(
    names: Sequence[str],
    rows: Sequence[Row],
    texts: Texts,
    references: Sequence[str],
    cache: Path,
    language: str = "en",
) -> list[Row]:
    """Paired tests over sentences within each seed, a row for each system but the first.

    If one run of a pair diverged, ``differences`` is None; if one is incomplete, there is no row.
    """
    by_run = {(row["system"], row["seed"]): row for row in rows}
    tests: list[Row] = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        available = [name for name in names if (name, seed) in by_run]
        if names[0] not in available:
            continue
        scored = [name for name in available if is_scored(by_run[name, seed])]
        complete = {name: texts[name, seed] for name in scored if (name, seed) in texts}
        p_values: Mapping[str, Any] = {}
        if names[0] in complete and len(complete) > 1:
            p_values = over_sentences(complete, references, cache, language)
        for name in available[1:]:
            row: Row = {"system": name, "seed": seed, "differences": None}
            if names[0] in scored and name in scored:
                if name not in complete or not p_values:
                    continue
                pair = by_run[name, seed], by_run[names[0], seed]
                row["differences"] = {m: pair[0][m]["score"] - pair[1][m]["score"] for m in METRICS}
                row.update({test: by_system[name] for test, by_system in p_values.items()})
            tests.append(row)
    return tests
