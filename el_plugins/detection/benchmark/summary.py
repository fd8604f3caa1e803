"""The benchmark's table: COCO's AP over seeds, and differences from the baseline with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from el_plugins.detection.benchmark.runs import Run
from el_plugins.utils.divergence import DIVERGED, MARK
from el_plugins.utils.files import write_json_lines, write_text
from el_plugins.utils.statistics import holm, mean_std, paired_t_test
from el_plugins.utils.tables import format_interval, format_mean_std, table

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
TESTED = ("AP", "AP50", "AP75")
NOTES = """\
AP is COCO's, in percent: mean and standard deviation over seeds. Differences are means over the seeds that
a system and the baseline share, with the 95 % confidence interval and the p-value of a paired t-test; Holm's
correction covers the systems of a metric. They say how training varies with the seed, on this test set. A
dash: nothing to compute, for instance from a single seed."""


def read_rows(runs: Sequence[Run], failed: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for every run: its AP, or that it diverged or failed."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {"system": run.system.name, "seed": run.seed}
        if run.name in failed:
            row["failed"] = failed[run.name]
        elif DIVERGED in (record := run.read_result()):
            row[DIVERGED] = record[DIVERGED]
        else:
            row.update({metric: record["bbox"].get(metric) for metric in METRICS})
        rows.append(row)
    return rows


def scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The lines of the table by system: number of seeds, mean and standard deviation of each metric."""
    lines: dict[str, dict[str, Any]] = {}
    for system, own in _by_system(rows).items():
        done = [row for row in own if "failed" not in row]
        line: dict[str, Any] = {
            "seeds": f"{len(done)}/{len(own)}" if len(done) < len(own) else str(len(done))
        }
        for metric in METRICS:
            values = [row.get(metric) for row in done]
            if any(DIVERGED in row for row in done):
                line[metric] = MARK
            else:
                line[metric] = _mean_std([value for value in values if value is not None], len(values))
        lines[system] = line
    return lines


def differences(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, dict[str, Any]]:
    """:func:`paired_t_test` of every system with the first one, and ``holm``'s p-value; {} for one system.

    A system or baseline of which a run diverged has no result, and so no difference.
    """
    systems = _by_system(rows)
    baseline, *others = systems
    by_seed = {
        system: {row["seed"]: row[metric] for row in own if row.get(metric) is not None}
        for system, own in systems.items()
    }
    for system, own in systems.items():
        if any(DIVERGED in row for row in own):
            by_seed[system] = {}
    tests = {system: paired_t_test(by_seed[system], by_seed[baseline]) for system in others}
    corrected = holm({system: test["p_value"] for system, test in tests.items()})
    return {system: {**test, "holm": corrected[system]} for system, test in tests.items()}


def write(runs: Sequence[Run], failed: Mapping[str, str], output: Path) -> None:
    """Write ``results.jsonl`` and ``report.md``, and print the latter's tables."""
    rows = read_rows(runs, failed)
    text = tables(rows)
    write_json_lines(output / "results.jsonl", rows)
    write_text(output / "report.md", f"# {output.name}\n\n{text}\n\n{NOTES}\n")
    print(f"\n{text}\n\nwrote {output / 'report.md'} and results.jsonl")


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """The scores of all systems, and their differences from the first one, in Markdown."""
    parts = [table(dict.fromkeys(("seeds", *METRICS), "{}"), scores(rows))]
    baseline = rows[0]["system"]
    for metric in TESTED:
        tests = differences(rows, metric)
        columns = {
            "seeds": "{}",
            "difference": "{:+.2f}",
            "95 % interval": "{}",
            "p": "{:.3f}",
            "Holm": "{:.3f}",
        }
        lines = {
            system: {
                "seeds": test["seeds"],
                "difference": test["difference"],
                "95 % interval": _interval(test),
                "p": test["p_value"],
                "Holm": test["holm"],
            }
            for system, test in tests.items()
        }
        if lines:
            parts.append(f"{metric} against {baseline}\n\n{table(columns, lines)}")
    return "\n\n".join(parts)


def _by_system(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    systems: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        systems.setdefault(row["system"], []).append(row)
    return systems


def _mean_std(values: Sequence[float], expected: int) -> str | None:
    """None if a seed has no AP: nothing was detected, or the test set has no such object."""
    return format_mean_std(*mean_std(values)) if values and len(values) == expected else None


def _interval(test: Mapping[str, Any]) -> str | None:
    low, high = test["low"], test["high"]
    return None if low is None or math.isnan(low) else format_interval(low, high)
