"""The report's tables as text, from the summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from el_plugins.nmt.benchmark.statistics import METRICS, verdict
from el_plugins.nmt.benchmark.wording import NO_RESULT, interval, label
from el_plugins.nmt.scoring import TITLES
from el_plugins.utils.divergence import diverged_at
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std

Table = list  # a list of rows, each a list of cells; the first is the heading

COMPARISON = ["difference", "95 % interval", "p", "p (Holm)", "verdict"]


def _compared(metric: str, comparison: Mapping[str, Any]) -> list[str]:
    """The cells of :data:`COMPARISON`."""
    if comparison["difference"] is None:
        return [NO_RESULT, "-", "-", "-", verdict(metric, comparison)]
    ends = "-" if comparison["low"] is None else interval(comparison)
    p_values = [_number(comparison[key], ".4f") for key in ("p_value", "holm")]
    return [f"{comparison['difference']:+.2f}", ends, *p_values, verdict(metric, comparison)]


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def headline(summary: Mapping[str, Any]) -> Table:
    """BLEU and its difference to the baseline, one row per system."""
    section = summary["sections"][0]
    lines: Table = [["system", "seeds", "BLEU", *COMPARISON]]
    for name, figures in section["systems"].items():
        bleu = figures["bleu"]
        compared = _compared("bleu", bleu) if "difference" in bleu else ["baseline", *"----"]
        lines.append([label(summary, name), str(len(figures["seeds"])), _mean(bleu), *compared])
    return lines


def _mean(scores: Mapping[str, Any]) -> str:
    return NO_RESULT if scores["mean"] is None else format_mean_std(scores["mean"], scores["sd"])


def scores(summary: Mapping[str, Any], section: Mapping[str, Any]) -> Table:
    """Mean and standard deviation over seeds, one row per system."""
    titles = [TITLES[metric] for metric in METRICS]
    lines: Table = [["system", "seeds", *titles, "length ratio", "brevity penalty", "length penalty"]]
    for name, figures in section["systems"].items():
        penalties = sorted({penalty for penalty in figures["length_penalties"] if penalty is not None})
        means = [_mean(figures[metric]) for metric in METRICS]
        ratios = [_number(figures[figure], ".3f") for figure in ("length_ratio", "brevity_penalty")]
        chosen = ", ".join(f"{penalty:g}" for penalty in penalties) or "-"
        lines.append([label(summary, name), str(len(figures["seeds"])), *means, *ratios, chosen])
    return lines


def differences(summary: Mapping[str, Any], section: Mapping[str, Any]) -> Table:
    """Difference to the baseline with interval and p-values, one row per system and metric."""
    lines: Table = [["system, score", *COMPARISON]]
    for name, figures in section["systems"].items():
        for metric in METRICS if name != summary["systems"][0] else ():
            lines.append([f"{name}, {TITLES[metric]}", *_compared(metric, figures[metric])])
    return lines


def seeds(summary: Mapping[str, Any], section: Mapping[str, Any]) -> Table:
    """The scores of every run."""
    lines: Table = [["run", *(TITLES[m] for m in METRICS), "length ratio", "length penalty"]]
    for row in summary["rows"]:
        run = f"{row['system']}, seed {row['seed']}"
        if "diverged" in row:
            lines.append([run, diverged_at(row["diverged"]), *["-"] * (len(METRICS) + 1)])
        elif (row["checkpoint"], row["subset"]) == (section["checkpoint"], section["subset"]):
            values = [f"{row[metric]['score']:.2f}" for metric in METRICS]
            lines.append(
                [run, *values, f"{row['bleu']['length_ratio']:.3f}", _number(row["length_penalty"], "g")]
            )
    return lines


def sentence_tests(summary: Mapping[str, Any], section: Mapping[str, Any]) -> Table:
    """sacrebleu's tests, one row per system, seed and metric of plain text."""
    columns = ["difference", "bootstrap p", "p (Holm)", "randomisation p", "p (Holm)"]
    lines: Table = [["system, seed, score", *columns]]
    for test in summary["sentence_tests"]:
        if (test["checkpoint"], test["subset"]) != (section["checkpoint"], section["subset"]):
            continue
        run = f"{test['system']}, seed {test['seed']}"
        if test["differences"] is None:
            lines.append([run, NO_RESULT, *"----"])
            continue
        for metric in test["bs"]:
            p_values = [f"{test[key][metric]:.4f}" for key in ("bs", "bs_holm", "ar", "ar_holm")]
            lines.append([f"{run}, {TITLES[metric]}", f"{test['differences'][metric]:+.2f}", *p_values])
    return lines


def cost(summary: Mapping[str, Any]) -> Table:
    """The cost of training, mean over complete seeds, one row per system."""
    styles = {"words_per_second": 0, "minutes": 1, "memory_gib": 2}
    titles = ["words a second", "minutes", "peak memory (GiB)"]
    baseline = _of_runs(summary, summary["systems"][0], "training", "words_per_second")
    lines: Table = [["system", titles[0], f"relative to {summary['systems'][0]}", *titles[1:]]]
    for name in summary["systems"]:
        figures = {key: _of_runs(summary, name, "training", key) for key in styles}
        cells = [_format(values, styles[key]) for key, values in figures.items()]
        speed = figures["words_per_second"]
        # A tiny training may take 0 seconds by fairseq's clock.
        relative = f"{mean_std(speed)[0] / mean_std(baseline)[0]:.2f} x" if speed and any(baseline) else "-"
        if any(figures.values()):
            lines.append([label(summary, name), cells[0], relative, *cells[1:]])
    return _without_empty_columns(lines)


def validation(summary: Mapping[str, Any]) -> Table:
    """Figures of the averaged checkpoint on the validation set, mean over seeds, one row per system."""
    lines: Table = [["system", "nll (bits a token)", "well-classified %"]]
    for name in summary["systems"]:
        log_p = _of_runs(summary, name, "tokens", "log_p")
        nll = [float(-values.mean() / math.log(2)) for values in log_p]
        share = [100 * float((values > math.log(0.5)).mean()) for values in log_p]
        if summary["diverged"][name]:
            lines.append([label(summary, name), NO_RESULT, NO_RESULT])
        elif log_p:
            lines.append([name, _format(nll, 3), _format(share, 2)])
    return lines if summary["tokens"] else lines[:1]


def _of_runs(summary: Mapping[str, Any], system: str, kind: str, key: str) -> list[Any]:
    """One figure of every complete run of ``system`` that did not diverge."""
    return [
        figures[key]
        for run, figures in summary[kind].items()
        if run.rpartition("/seed")[0] == system
        and int(run.rpartition("/seed")[2]) not in summary["diverged"][system]
        and key in figures
    ]


def _format(values: Sequence[float], digits: int) -> str:
    return format_mean_std(*mean_std(values), digits=digits) if values else "-"


def _without_empty_columns(lines: Table) -> Table:
    """``lines`` without columns that are empty in every row."""
    columns = [column for column in zip(*lines) if set(column[1:]) - {"-"}]
    return [list(line) for line in zip(*columns)] or lines


def settings(summary: Mapping[str, Any]) -> list[str]:
    """Settings, versions and sacrebleu's signatures, one per line."""
    chosen = summary["settings"]
    lines = [f"train: {chosen['train']}"]
    lines += [f"{s['name']}: --criterion {s['criterion']} {s['arguments']}" for s in chosen["systems"]]
    lines += [f"{key}: {chosen[key]}" for key in ("seeds", "average", "generate", "length_penalties")]
    installed = {tuple(versions.items()) for versions in summary["versions"].values()}
    lines += [
        "versions: " + ", ".join(f"{name} {number}" for name, number in one) for one in sorted(installed)
    ]
    signatures = summary["sections"][0]["signatures"].items()
    return lines + [f"{TITLES[metric]}: {signature}" for metric, signature in signatures]
