"""The report's tables as text, from its sections and the results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from el_plugins.nmt.benchmark.results import Results, by_update
from el_plugins.nmt.benchmark.sections import Section, is_scored
from el_plugins.nmt.benchmark.statistics import METRICS, verdict
from el_plugins.nmt.benchmark.wording import NO_RESULT, interval, label
from el_plugins.nmt.scoring import TITLES
from el_plugins.utils.divergence import DIVERGED, diverged_at
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std

Table = list  # a list of rows, each a list of cells; the first is the heading

LAST = 3  # validations that show whether training has converged

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


def headline(section: Section) -> Table:
    """BLEU and its difference to the baseline over the seeds of both, one row per system."""
    lines: Table = [["system", "seeds", "BLEU", *COMPARISON]]
    for name, figures in section.systems.items():
        bleu = figures["bleu"]
        compared = _compared("bleu", bleu) if "difference" in bleu else ["baseline", *"----"]
        if (
            bleu.get("difference") is not None
            and figures["seeds"] != section.systems[section.baseline]["seeds"]
        ):
            compared[0] += f" (seeds in common: {bleu['seeds']})"
        lines.append([label(section, name), str(len(figures["seeds"])), _mean(bleu), *compared])
    return lines


def _mean(scores: Mapping[str, Any]) -> str:
    return NO_RESULT if scores["mean"] is None else format_mean_std(scores["mean"], scores["sd"])


def scores(section: Section) -> Table:
    """Mean and standard deviation over seeds, one row per system."""
    titles = [TITLES[metric] for metric in METRICS]
    lines: Table = [["system", "seeds", *titles, "length ratio", "brevity penalty", "length penalty"]]
    for name, figures in section.systems.items():
        penalties = sorted({penalty for penalty in figures["length_penalties"] if penalty is not None})
        means = [_mean(figures[metric]) for metric in METRICS]
        ratios = [_number(figures[figure], ".3f") for figure in ("length_ratio", "brevity_penalty")]
        chosen = ", ".join(f"{penalty:g}" for penalty in penalties) or "-"
        lines.append([label(section, name), str(len(figures["seeds"])), *means, *ratios, chosen])
    return lines


def differences(section: Section) -> Table:
    """Difference to the baseline with interval and p-values, one row per system and metric."""
    lines: Table = [["system, score", *COMPARISON]]
    for name, figures in section.systems.items():
        for metric in METRICS if name != section.baseline else ():
            lines.append([f"{name}, {TITLES[metric]}", *_compared(metric, figures[metric])])
    return lines


def seeds(section: Section) -> Table:
    """The scores of every run."""
    lines: Table = [["run", *(TITLES[m] for m in METRICS), "length ratio", "length penalty"]]
    for row in section.rows:
        run = f"{row['system']}, seed {row['seed']}"
        if not is_scored(row):
            lines.append([run, diverged_at(row[DIVERGED]), *["-"] * (len(METRICS) + 1)])
        else:
            values = [f"{row[metric]['score']:.2f}" for metric in METRICS]
            lines.append(
                [run, *values, f"{row['bleu']['length_ratio']:.3f}", _number(row["length_penalty"], "g")]
            )
    return lines


def sentence_tests(section: Section) -> Table:
    """sacrebleu's tests, one row per system, seed and metric of plain text."""
    columns = ["difference", "bootstrap p", "p (Holm)", "randomisation p", "p (Holm)"]
    lines: Table = [["system, seed, score", *columns]]
    for test in section.tests:
        run = f"{test['system']}, seed {test['seed']}"
        if test["differences"] is None:
            lines.append([run, NO_RESULT, *"----"])
            continue
        for metric in test["bs"]:
            p_values = [f"{test[key][metric]:.4f}" for key in ("bs", "bs_holm", "ar", "ar_holm")]
            lines.append([f"{run}, {TITLES[metric]}", f"{test['differences'][metric]:+.2f}", *p_values])
    return lines


def cost(results: Results) -> Table:
    """The cost of training, mean over complete seeds, one row per system."""
    styles = {"words_per_second": 0, "minutes": 1, "memory_gib": 2}
    titles = ["words a second", "minutes", "peak memory (GiB)"]
    first = results.systems[0]
    baseline = _of_runs(results, first, "training", "words_per_second")
    lines: Table = [["system", titles[0], f"relative to {first}", *titles[1:]]]
    for name in results.systems:
        figures = {key: _of_runs(results, name, "training", key) for key in styles}
        cells = [_format(values, styles[key]) for key, values in figures.items()]
        speed = figures["words_per_second"]
        # A tiny training may take 0 seconds by fairseq's clock.
        relative = f"{mean_std(speed)[0] / mean_std(baseline)[0]:.2f} x" if speed and any(baseline) else "-"
        if any(figures.values()):
            lines.append([label(results, name), cells[0], relative, *cells[1:]])
    return _without_empty_columns(lines)


def validation(results: Results) -> Table:
    """Figures of the averaged checkpoint on the validation set, mean over seeds, one row per system."""
    lines: Table = [["system", "nll (bits a token)", "well-classified %"]]
    for name in results.systems:
        log_p = _of_runs(results, name, "tokens", "log_p")
        nll = [float(-values.mean() / math.log(2)) for values in log_p]
        share = [100 * float((values > math.log(0.5)).mean()) for values in log_p]
        if results.diverged[name]:
            lines.append([label(results, name), NO_RESULT, NO_RESULT])
        elif log_p:
            lines.append([name, _format(nll, 3), _format(share, 2)])
    return lines if results.outputs("tokens") else lines[:1]


def convergence(results: Results) -> Table:
    """How much validation nll still changed at the end of training, mean over seeds, one row per system."""
    lines: Table = [["system", "change of nll (bits a token)"]]
    for name in results.systems:
        changes = [_change_of_nll(curve) for curve in _runs(results, name, "curve")]
        known = [change for change in changes if change is not None]
        if known:
            lines.append([label(results, name), _format(known, 3)])
    return lines


def _change_of_nll(curve: Mapping[str, Mapping[str, str]]) -> float | None:
    """Mean change of validation nll from one validation to the next, over the last ones."""
    nll = [*by_update(curve, "valid_nll_loss").values()]
    return (nll[-1] - nll[-1 - LAST]) / LAST if len(nll) > LAST else None


def _runs(results: Results, system: str, kind: str) -> list[Any]:
    """One output of every complete run of ``system`` that did not diverge."""
    return [
        output
        for run, output in results.outputs(kind).items()
        if run.rpartition("/seed")[0] == system
        and int(run.rpartition("/seed")[2]) not in results.diverged[system]
    ]


def _of_runs(results: Results, system: str, kind: str, key: str) -> list[Any]:
    """One figure of an output of every complete run of ``system`` that did not diverge."""
    return [figures[key] for figures in _runs(results, system, kind) if key in figures]


def _format(values: Sequence[float], digits: int) -> str:
    return format_mean_std(*mean_std(values), digits=digits) if values else "-"


def _without_empty_columns(lines: Table) -> Table:
    """``lines`` without columns that are empty in every row."""
    columns = [column for column in zip(*lines) if set(column[1:]) - {"-"}]
    return [list(line) for line in zip(*columns)] or lines


def settings(results: Results, section: Section) -> list[str]:
    """Settings, versions and sacrebleu's signatures, one per line."""
    benchmark = results.benchmark
    lines = [f"train: {benchmark.train}"]
    lines += [f"{s.name}: --criterion {s.criterion} {s.arguments}" for s in benchmark.systems]
    lines += [
        f"{key}: {getattr(benchmark, key)}" for key in ("seeds", "average", "generate", "length_penalties")
    ]
    installed = {tuple(versions.items()) for versions in results.outputs("versions").values()}
    lines += [
        "versions: " + ", ".join(f"{name} {number}" for name, number in one) for one in sorted(installed)
    ]
    return lines + [f"{TITLES[metric]}: {signature}" for metric, signature in section.signatures.items()]
