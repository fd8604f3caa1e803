"""The demo's report: AP over seeds, AP by class frequency, plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from el_plugins.detection.benchmark import summary
from el_plugins.detection.benchmark.runs import Run
from el_plugins.utils.divergence import DIVERGED, MARK
from el_plugins.utils.files import write_json_lines, write_text
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std, table
from experiments.detection.coco import class_counts
from experiments.detection.measures import frequency_thirds, third_aps
from experiments.detection.plots import draw_ap_by_class, draw_detections

NOTES = """\
AP frequent, middle and rare are the means of AP over the most frequent third of the classes in training, the
middle and the rarest third. One seed tells no difference between losses."""


def write(name: str, folder: Path, runs: Sequence[Run]) -> None:
    """Write and print the tables of complete ``runs``, with pictures of the first seed.

    Args:
        name: of the data set.
        folder: of the demo, with the data set in ``data``.
    """
    pictures = folder / "data"
    counts = class_counts(pictures / "train.json")
    rows = summary.read_rows(runs, {})
    first: dict[str, Run] = {}
    for run, row in zip(runs, rows):
        if DIVERGED not in row:
            row.update(third_aps(run.read_result()["bbox"], counts))
            first.setdefault(run.system.name, run)
    parts = [summary.tables(rows)]
    if frequency_thirds(counts):
        parts += [frequency_table(rows), NOTES]
    text = "\n\n".join(parts)
    detections = {
        system: run.folder / "inference" / "coco_instances_results.json" for system, run in first.items()
    }
    draw_detections(pictures, detections, folder / "detections.png")
    shown = ["detections.png"]
    if len(counts) > 1:
        results = {system: run.read_result()["bbox"] for system, run in first.items()}
        draw_ap_by_class(results, counts, folder / "ap_by_class.png")
        shown.append("ap_by_class.png")
    links = "".join(f"![{file}]({file})\n" for file in shown)
    write_json_lines(folder / "results.jsonl", rows)
    write_text(folder / "report.md", f"# RetinaNet on {name}\n\n{text}\n\n{summary.NOTES}\n\n{links}")
    saved = ", ".join(str(folder / file) for file in ("report.md", "results.jsonl", *shown))
    print(f"\n{text}\n\nSaved: {saved}")


def frequency_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean and standard deviation over seeds of :func:`third_aps`, by system."""
    columns = [f"AP {third}" for third in ("frequent", "middle", "rare")]
    lines: dict[str, dict[str, Any]] = {}
    for system in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == system]
        lines[system] = dict.fromkeys(columns, MARK)
        if not any(DIVERGED in row for row in own):
            for column in columns:
                values = [row[column] for row in own]
                lines[system][column] = None if None in values else format_mean_std(*mean_std(values))
    return table(dict.fromkeys(columns, "{}"), lines)
