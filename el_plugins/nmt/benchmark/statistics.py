"""Significance of differences: over seeds by a paired t-test, over test sentences by sacrebleu's tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from el_plugins.nmt.benchmark.cache import cached
from el_plugins.nmt.scoring import TOKENISED, metrics, paired_test, split_by
from el_plugins.utils.statistics import holm, paired_t_test

METRICS = (TOKENISED, *metrics())
CAVEATS = """\
Over seeds: the mean difference to the baseline of the same seed, its 95 % confidence interval and the p-value
of a paired t-test. They cover how training varies from seed to seed, on this test set; with few seeds only a
large difference can show, and with one seed nothing is tested. Over sentences: two-sided p-values of paired
bootstrap (1,000 resamples; twice sacrebleu's, which counts one side) and approximate randomisation (10,000
trials) between two trained models. They cover which sentences are in the test set, not that another seed
trains another model. Holm's correction covers the systems that are compared with the baseline by one score
on one test set; verdicts go by it. No p-value is corrected for the number of scores, test sets, checkpoints
or seeds, and nothing here covers another corpus, another budget or another model size.
"""


def compare(
    system: Mapping[int, float], baseline: Mapping[int, float], diverged: bool = False
) -> dict[str, Any]:
    """:func:`paired_t_test` of scores by seed, and ``differences`` of each seed that both have.

    Args:
        diverged: a run of one of them diverged: then there is no result but ``differences``.
    """
    seeds = sorted(system.keys() & baseline.keys())
    differences = {seed: system[seed] - baseline[seed] for seed in seeds}
    return {
        "differences": differences,
        **(paired_t_test({}, {}) if diverged else paired_t_test(system, baseline)),
    }


def verdict(metric: str, comparison: Mapping[str, Any]) -> str:
    """A comparison over seeds in words, at the 5 % level after Holm's correction."""
    difference, p_value = comparison["difference"], comparison["holm"]
    if difference is None:
        return "no result"
    if p_value is None:
        return "not tested"
    if math.isnan(p_value) or p_value >= 0.05:
        return "no significant difference"
    return "better" if (difference > 0) != (metric == "ter") else "worse"


def over_sentences(
    translations: Mapping[str, Sequence[str]], references: Sequence[str], cache: Path, language: str = "en"
) -> dict[str, dict[str, dict[str, Any]]]:
    """p-values of both of sacrebleu's paired tests, by test, system and metric.

    They take minutes for a large test set, so they are cached in the folder ``cache``.

    Args:
        translations: plain text by system, the baseline's first.
        language: of the translations.

    Returns:
        Of the tests "bs" and "ar", and as "bs_holm" and "ar_holm" corrected over the systems.
    """
    own = split_by(language)
    raw = cached(
        cache,
        ["two-sided", [[name, list(lines)] for name, lines in translations.items()], list(references), *own],
        lambda: {test: paired_test(translations, references, test, language) for test in ("bs", "ar")},
    )
    return {**raw, **{f"{test}_holm": _corrected(by_system) for test, by_system in raw.items()}}


def _corrected(p_values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """:func:`holm` over systems for each metric; p-values by system and metric, as given."""
    corrected: dict[str, dict[str, Any]] = {name: {} for name in p_values}
    for metric in next(iter(p_values.values())):
        for name, p_value in holm({name: one[metric] for name, one in p_values.items()}).items():
            corrected[name][metric] = p_value
    return corrected
