"""The report's sentences and headings, from the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from el_plugins.nmt.benchmark.settings import POOLED
from el_plugins.nmt.benchmark.statistics import verdict
from el_plugins.utils.divergence import diverged_at

CHECKPOINTS = {
    "averaged": "averaged checkpoint",
    "best": "best checkpoint",
    "averaged_tuned": "averaged checkpoint, length penalty tuned on the validation set",
}
NO_RESULT = "no result"


def subset(place: Mapping[str, Any]) -> str:
    """Title of a test subset."""
    return "all test sets together" if place["subset"] == POOLED else place["subset"]


def heading(place: Mapping[str, Any]) -> str:
    """Title of a test subset's scores with a kind of checkpoint."""
    return f"{subset(place)}, {CHECKPOINTS[place['checkpoint']]}"


def diverged(steps: Mapping[int, int | None]) -> str:
    """When runs of a system diverged, by seed, in words."""
    return ", ".join(f"{diverged_at(step)} (seed {seed})" for seed, step in steps.items())


def label(summary: Mapping[str, Any], system: str) -> str:
    """Label of a row of means: the system, and when it diverged."""
    steps = summary["diverged"][system]
    return f"{system}, {diverged(steps)}" if steps else system


def verdicts(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(system, verdict, why) on the headline's BLEU."""
    section = summary["sections"][0]
    baseline = summary["systems"][0]
    verdicts_of = []
    for name, figures in section["systems"].items():
        if name == baseline:
            continue
        steps = {one: summary["diverged"][one] for one in (name, baseline) if summary["diverged"][one]}
        if steps:
            why = "; ".join(f"{one} {diverged(seeds)}" for one, seeds in steps.items())
        elif figures["bleu"]["difference"] is None:
            why = f"it has no seed in common with {baseline}"
        else:
            ratios = [f"{section['systems'][one]['length_ratio']:.3f}" for one in (name, baseline)]
            why = f"BLEU {with_interval(figures['bleu'], baseline)}; {_over_sentences(summary, name)}"
            why += f"length ratio {ratios[0]} against {ratios[1]}"
        verdicts_of.append((name, verdict("bleu", figures["bleu"]), f"{heading(section)}: {why}"))
    return verdicts_of


def with_interval(compared: Mapping[str, Any], baseline: str) -> str:
    """A difference over seeds with its interval and p-values."""
    seeds = f"{compared['seeds']} seed{'s' if compared['seeds'] > 1 else ''}"
    known = f"{seeds}: no estimate of the variation over seeds"
    if compared["p_value"] is not None:
        p_values = f"p = {compared['p_value']:.3f}, with Holm's correction {compared['holm']:.3f}"
        known = f"95 % interval {interval(compared)}, {p_values}, {seeds}"
    return f"{compared['difference']:+.2f} against {baseline} ({known})"


def _over_sentences(summary: Mapping[str, Any], system: str) -> str:
    """In how many seeds the headline's randomisation test is significant."""
    section = summary["sections"][0]
    p_values = [
        test["ar_holm"]["bleu"]
        for test in summary["sentence_tests"]
        if (test["system"], test["checkpoint"], test["subset"])
        == (system, section["checkpoint"], section["subset"])
        and test["differences"]
    ]
    count = sum(p_value < 0.05 for p_value in p_values)
    of = f"{len(p_values)} seed{'s' if len(p_values) > 1 else ''}"
    return f"over sentences significant in {count} of {of}; " if p_values else ""


def interval(comparison: Mapping[str, Any]) -> str:
    """A confidence interval in words."""
    return f"{comparison['low']:+.2f} to {comparison['high']:+.2f}"
