"""Compare trainings of several seeds: ``python -m el_plugins.detection.compare FOLDER``.

Reads ``FOLDER/SYSTEM-seedN/results.json``, which train_net writes, and prints mean and standard deviation
over the seeds of COCO's AP, AP50 and AP75 for every system; also to ``FOLDER/report.md``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from el_plugins.workflow.results import spread, table, with_spread, write_text

METRICS = ("AP", "AP50", "AP75")


def read(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Every seed's figures by system and metric.

    Raises:
        ValueError: there is no finished training in ``folder``.
    """
    systems: dict[str, dict[str, list[float]]] = defaultdict(lambda: {metric: [] for metric in METRICS})
    for path in sorted(folder.glob("*-seed*/results.json")):
        bbox = json.loads(path.read_text(encoding="utf-8"))["bbox"]
        for metric in METRICS:
            systems[path.parent.name.rpartition("-seed")[0]][metric].append(bbox[metric])
    if not systems:
        raise ValueError(f"no finished training in {folder}: expected SYSTEM-seedN/results.json")
    return systems


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.detection.compare``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.detection.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the trainings")
    folder = parser.parse_args(arguments).folder
    try:
        systems = read(folder)
    except ValueError as error:
        raise SystemExit(f"compare: {error}") from error
    rows = {
        system: {"seeds": len(figures["AP"]), **{m: with_spread(*spread(figures[m])) for m in METRICS}}
        for system, figures in systems.items()
    }
    text = table(dict.fromkeys(("seeds", *METRICS), "{}"), rows)
    write_text(folder / "report.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
