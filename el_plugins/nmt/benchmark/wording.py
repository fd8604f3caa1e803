"""The report's sentences and headings, from its sections."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from el_plugins.checkpoints.choose import EPOCH
from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.sections import CHECKPOINTS, Section
from el_plugins.nmt.benchmark.settings import POOLED
from el_plugins.nmt.benchmark.statistics import verdict
from el_plugins.utils.divergence import diverged_at
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_interval

NO_RESULT = "no result"


def subset(section: Section) -> str:
    """Title of a test subset."""
    return "all test sets together" if section.subset == POOLED else section.subset


def heading(section: Section) -> str:
    """Title of a section."""
    return f"{subset(section)}, {CHECKPOINTS[section.checkpoint]}"


def diverged(steps: Mapping[int, int | None]) -> str:
    """When runs of a system diverged, by seed, in words."""
    return ", ".join(f"{diverged_at(step)} (seed {seed})" for seed, step in steps.items())


def label(of: Section | Results, system: str) -> str:
    """Label of a row of means: the system, and when it diverged."""
    steps = of.diverged[system]
    return f"{system}, {diverged(steps)}" if steps else system


def verdicts(section: Section) -> list[tuple[str, str, str]]:
    """(system, verdict, why) on BLEU."""
    baseline = section.baseline
    verdicts_of = []
    for name, figures in section.systems.items():
        if name == baseline:
            continue
        steps = {one: section.diverged[one] for one in (name, baseline) if section.diverged[one]}
        if steps:
            why = "; ".join(f"{one} {diverged(seeds)}" for one, seeds in steps.items())
        elif figures["bleu"]["difference"] is None:
            why = f"it has no seed in common with {baseline}"
        else:
            common = figures["bleu"]["differences"]
            ratios = [f"{_length_ratio(section, one, common):.3f}" for one in (name, baseline)]
            why = f"BLEU {with_interval(figures['bleu'], baseline)}; {_over_sentences(section, name)}"
            why += f"length ratio {ratios[0]} against {ratios[1]}"
        verdicts_of.append((name, verdict("bleu", figures["bleu"]), f"{heading(section)}: {why}"))
    return verdicts_of


def averages(results: Results) -> list[str]:
    """What readers should know of the averaged checkpoints, in sentences: too few, or from before a bonus."""
    runs_of: dict[str, list[str]] = {}
    for run, names in results.outputs("averaged").items():
        for note in _notes(names, results.benchmark.average, results.runs[run].get("curve", {})):
            runs_of.setdefault(note, []).append(run)
    return [f"{', '.join(runs)}: {note}" for note, runs in runs_of.items()]


def _notes(names: Sequence[str], wanted: int, curve: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """:func:`averages` of one run.

    Args:
        names: the checkpoints that were averaged.
        wanted: how many the settings ask for.
        curve: validation figures by update.
    """
    epochs = [int(match[1]) for name in names if (match := EPOCH.fullmatch(name))]
    if len(epochs) < len(names):
        yield f"shorter than an epoch, so {', '.join(names)} was averaged"
        return
    if len(names) < wanted:
        yield f"fewer than {wanted} epochs, so only {len(names)} averaged"
    factors = {one.get("epoch"): float(one.get("valid_bonus_factor", 0)) for one in curve.values()}
    without = max((epoch for epoch, factor in factors.items() if epoch and not factor), default=0)
    early = [epoch for epoch in epochs if epoch <= without]  # not every epoch need be validated
    if early and any(factors.values()):
        yield f"{len(early)} of the {len(epochs)} averaged epochs ended before the bonus came in"


def with_interval(compared: Mapping[str, Any], baseline: str) -> str:
    """A difference over seeds with its interval and p-values."""
    seeds = f"{compared['seeds']} seed{'s' if compared['seeds'] > 1 else ''}"
    known = f"{seeds}: no estimate of the variation over seeds"
    if compared["p_value"] is not None:
        p_values = f"p = {compared['p_value']:.3f}, with Holm's correction {compared['holm']:.3f}"
        known = f"95 % interval {interval(compared)}, {p_values}, {seeds}"
    return f"{compared['difference']:+.2f} against {baseline} ({known})"


def _over_sentences(section: Section, system: str) -> str:
    """In how many seeds the randomisation test is significant, by direction."""
    tests = [test for test in section.tests if test["system"] == system and test["differences"]]
    found = [test["differences"]["bleu"] for test in tests if test["ar_holm"]["bleu"] < 0.05]
    counts = {"better": sum(one > 0 for one in found), "worse": sum(one < 0 for one in found)}
    words = " and ".join(f"{word} in {count}" for word, count in counts.items() if count)
    significant = f"significantly {words}" if words else "significant in none"
    of = f"{len(tests)} seed{'s' if len(tests) > 1 else ''}"
    return f"over sentences {significant} of {of}; " if tests else ""


def _length_ratio(section: Section, system: str, seeds: Collection[int]) -> float:
    """Mean over ``seeds``."""
    rows = [row for row in section.rows if row["system"] == system and row["seed"] in seeds]
    return mean_std([row["bleu"]["length_ratio"] for row in rows])[0]


def interval(comparison: Mapping[str, Any]) -> str:
    """The confidence interval of a comparison, in words."""
    return format_interval(comparison["low"], comparison["high"])
