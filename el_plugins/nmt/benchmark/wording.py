"""The report's sentences and headings, from the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from el_plugins.nmt.benchmark.settings import POOLED
from el_plugins.nmt.benchmark.statistics import verdict

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
    """Title of what was measured on a test subset with a kind of checkpoint."""
    return f"{subset(place)}, {CHECKPOINTS[place['checkpoint']]}"


def diverged(steps: Mapping[int, int | None]) -> str:
    """The steps at which runs of a system diverged, by seed, in words."""
    return ", ".join(f"{diverged_at(step)} (seed {seed})" for seed, step in steps.items())


def diverged_at(step: int | None) -> str:
    """Where a run diverged; None is a trained model whose outputs are not finite."""
    return "diverged after the last step" if step is None else f"diverged at step {step}"


def label(summary: Mapping[str, Any], system: str) -> str:
    """The name of a row of means: the system, and that it diverged."""
    steps = summary["diverged"][system]
    return f"{system}, {diverged(steps)}" if steps else system


def verdicts(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(system, verdict, why) on the headline's BLEU."""
    section = summary["sections"][0]
    baseline = summary["systems"][0]
    found = []
    for name, figures in section["systems"].items():
        if name == baseline:
            continue
        steps = {one: summary["diverged"][one] for one in (name, baseline) if summary["diverged"][one]}
        if steps:
            why = "; ".join(f"{one} {diverged(seeds)}" for one, seeds in steps.items())
        elif figures["bleu"]["difference"] is None:
            why = f"it has no seed in common with {baseline}"
        else:
            why = f"BLEU {sure(figures['bleu'], baseline)}; {_over_sentences(summary, name)}length ratio "
            why += f"{figures['length_ratio']:.3f} against {section['systems'][baseline]['length_ratio']:.3f}"
        found.append((name, verdict("bleu", figures["bleu"]), f"{heading(section)}: {why}"))
    return found


def sure(compared: Mapping[str, Any], baseline: str) -> str:
    """A difference over seeds with everything that says how sure it is."""
    seeds = f"{compared['seeds']} seed{'s' if compared['seeds'] > 1 else ''}"
    known = f"{seeds}: nothing is known of the spread over seeds"
    if compared["p_value"] is not None:
        p_values = f"p = {compared['p_value']:.3f}, with Holm's correction {compared['holm']:.3f}"
        known = f"95 % interval {interval(compared)}, {p_values}, {seeds}"
    return f"{compared['difference']:+.2f} against {baseline} ({known})"


def _over_sentences(summary: Mapping[str, Any], system: str) -> str:
    """In how many seeds the randomisation test of the headline is significant."""
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
    """Both ends of a confidence interval."""
    return f"{comparison['low']:+.2f} to {comparison['high']:+.2f}"
