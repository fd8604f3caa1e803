"""The report's tables and sentences, as text, from what was gathered of the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from el_plugins.nmt.benchmark.statistics import METRICS, verdict
from el_plugins.nmt.scoring import TITLES
from el_plugins.workflow.divergence import MARK, describe
from el_plugins.workflow.results import cells, spread, with_spread

CHECKPOINTS = {
    "averaged": "averaged checkpoint",
    "best": "best checkpoint",
    "averaged_tuned": "averaged checkpoint, length penalty tuned on the validation set",
}
SCORES = {
    "seeds": "{:d}",
    **dict.fromkeys(TITLES.values(), "{}"),
    "length ratio": "{:.3f}",
    "brevity penalty": "{:.3f}",
    "length penalty": "{}",
}
DIFFERENCES = {"difference": "{:+.2f}", "95 % interval": "{}", "p": "{:.4f}", "verdict": "{}"}
SENTENCES = {"difference": "{:+.2f}", "bootstrap p": "{:.4f}", "randomisation p": "{:.4f}"}
TRAINING = {"nll": "{}", "well-classified %": "{}", "minutes": "{}", "words a second": "{}"}


def heading(place: Mapping[str, Any]) -> str:
    """Title of what was measured on a test subset with a kind of checkpoint."""
    return f"{place['subset']}, {CHECKPOINTS[place['checkpoint']]}"


def verdicts(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(system, verdict, why) on BLEU, for each kind of checkpoint and test subset."""
    baseline = summary["systems"][0]
    broken = diverged(summary)
    if baseline in broken:
        why = f"{baseline}, which it is compared with: {broken[baseline]}"
        broken.update({name: why for name in summary["systems"] if name not in broken})
    found = [(name, "no result", why) for name, why in broken.items()]
    for section in summary["sections"]:
        for name, scores in section["systems"].items():
            bleu = scores["bleu"]
            if name == baseline or bleu["difference"] is None:
                continue
            seeds = f"{bleu['seeds']} seed{'s' if bleu['seeds'] > 1 else ''}"
            sure = f"{seeds}: nothing is known of the spread over seeds"
            if bleu["p_value"] is not None:
                sure = f"95 % interval {interval(bleu)}, p = {bleu['p_value']:.3f}, {seeds}"
            lengths = (
                f"{scores['length_ratio']:.3f} against {section['systems'][baseline]['length_ratio']:.3f}"
            )
            why = f"BLEU {bleu['difference']:+.2f} to {baseline} ({sure}); length ratio {lengths}"
            found.append((name, verdict("bleu", bleu), f"{heading(section)}: {why}"))
    return found


def diverged(summary: Mapping[str, Any]) -> dict[str, str]:
    """Which seeds of a system diverged and when, in words, by system."""
    found: dict[str, list[str]] = {}
    for row in summary["diverged"]:
        found.setdefault(row["system"], []).append(f"seed {row['seed']} {describe(row)}")
    return {name: ", ".join(seeds) for name, seeds in found.items()}


def interval(comparison: Mapping[str, Any]) -> str:
    """Both ends of a confidence interval."""
    return f"{comparison['low']:+.2f} to {comparison['high']:+.2f}"


def scores(section: Mapping[str, Any], diverged: Iterable[str] = ()) -> list[list[str]]:
    """Mean and standard deviation over seeds, a row a system; a mark for the systems that diverged."""
    rows: dict[str, Any] = {name: dict.fromkeys(SCORES, MARK) for name in diverged}
    for name, figures in section["systems"].items():
        penalties = sorted({penalty for penalty in figures["length_penalties"] if penalty is not None})
        rows[name] = {
            **figures,
            **{
                TITLES[metric]: with_spread(figures[metric]["mean"], figures[metric]["sd"])
                for metric in METRICS
            },
            "length ratio": figures["length_ratio"],
            "brevity penalty": figures["brevity_penalty"],
            "length penalty": ", ".join(f"{penalty:g}" for penalty in penalties) or None,
        }
    return cells(SCORES, rows)


def differences(section: Mapping[str, Any]) -> list[list[str]]:
    """Difference to the baseline with its interval and p-value, a row for each system and metric."""
    rows = {}
    for name, figures in section["systems"].items():
        for metric in METRICS:
            found = figures[metric]
            if found.get("difference") is not None:
                known = found["p_value"] is not None
                rows[f"{name}, {TITLES[metric]}"] = {
                    "difference": found["difference"],
                    "95 % interval": interval(found) if known else None,
                    "p": found["p_value"],
                    "verdict": verdict(metric, found),
                }
    return cells(DIFFERENCES, rows, "system, score")


def sentence_tests(summary: Mapping[str, Any]) -> list[list[str]]:
    """sacrebleu's tests, a row for each system, seed, test subset, checkpoint and score of plain text."""
    rows = {
        f"{test['system']}, seed {test['seed']}, {heading(test)}, {TITLES[metric]}": {
            "difference": test["differences"][metric],
            "bootstrap p": p_value,
            "randomisation p": test["ar"][metric],
        }
        for test in summary["sentence_tests"]
        for metric, p_value in test["bs"].items()
    }
    return cells(SENTENCES, rows, "comparison")


def training(summary: Mapping[str, Any]) -> list[list[str]]:
    """Validation figures of the averaged checkpoint and the cost of training, over seeds, a row a system."""
    rows = {}
    for name in summary["systems"]:
        own = [f"{name}/seed{seed}" for seed in summary["seeds"][name]]
        if own:
            log_p = [summary["tokens"][run]["log_p"] for run in own]
            cost = [summary["training"][run] for run in own]
            figures = {
                "nll": ([float(-values.mean() / math.log(2)) for values in log_p], 3),
                "well-classified %": ([100 * float((values > math.log(0.5)).mean()) for values in log_p], 2),
                "minutes": ([one["minutes"] for one in cost], 1),
                "words a second": ([one["words_per_second"] for one in cost], 0),
            }
            rows[name] = {
                column: with_spread(*spread(values), digits=digits)
                for column, (values, digits) in figures.items()
            }
    return cells(TRAINING, rows)


def settings(summary: Mapping[str, Any]) -> list[str]:
    """Settings and versions, a line each."""
    chosen = summary["settings"]
    lines = [f"train: {chosen['train']}"]
    lines += [f"{s['name']}: --criterion {s['criterion']} {s['arguments']}" for s in chosen["systems"]]
    lines += [f"{key}: {chosen[key]}" for key in ("seeds", "average", "generate", "length_penalties")]
    found = {tuple(versions.items()) for versions in summary["versions"].values()}
    lines += ["versions: " + ", ".join(f"{name} {number}" for name, number in one) for one in sorted(found)]
    return lines


def signatures(summary: Mapping[str, Any]) -> dict[str, str]:
    """sacrebleu's signature of each score."""
    return {TITLES[metric]: summary["sections"][0]["signatures"][metric] for metric in METRICS}
