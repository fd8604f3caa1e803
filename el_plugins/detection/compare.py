"""Compare trainings of several seeds: ``python -m el_plugins.detection.compare FOLDER``.

Reads ``FOLDER/SYSTEM-seedN/results.json``, which train_net writes, and prints mean and standard deviation
over the seeds of COCO's AP, AP50 and AP75 for every system, or that one of its seeds diverged; also to
``FOLDER/report.md``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from el_plugins.utils.divergence import DIVERGED, MARK
from el_plugins.utils.files import write_text
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std, table

METRICS = ("AP", "AP50", "AP75")


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every seed's results by system.

    Raises:
        ValueError: there is no finished training in ``folder``.
    """
    systems: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*-seed*/results.json")):
        systems[path.parent.name.rpartition("-seed")[0]].append(json.loads(path.read_text(encoding="utf-8")))
    if not systems:
        raise ValueError(f"no finished training in {folder}: expected SYSTEM-seedN/results.json")
    return systems


def score(results: Sequence[Mapping[str, Any]], metric: str) -> str | None:
    """Mean and standard deviation over the seeds of a system; None where nothing was detected by one."""
    if any(DIVERGED in found for found in results):
        return MARK
    values = [found["bbox"][metric] for found in results]
    return None if None in values else format_mean_std(*mean_std(values))


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
        system: {"seeds": len(results), **{metric: score(results, metric) for metric in METRICS}}
        for system, results in systems.items()
    }
    text = table(dict.fromkeys(("seeds", *METRICS), "{}"), rows)
    write_text(folder / "report.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
