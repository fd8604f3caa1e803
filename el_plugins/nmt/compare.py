"""Compare a recipe's losses over its seeds: ``python -m el_plugins.nmt.compare FOLDER``.

Reads ``FOLDER/LOSS-seedN/SUBSET.json``, which el-score writes, and prints mean and standard deviation over
the seeds of every score, a table for each test subset; also to ``FOLDER/report.md``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from el_plugins.nmt.scoring import TITLES
from el_plugins.utils.files import write_text
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std, table


def read(folder: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The scores of every seed, by test subset and loss.

    Raises:
        ValueError: there are none in ``folder``.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*-seed*/test*.json")):
        loss = path.parent.name.rpartition("-seed")[0]
        found[path.stem][loss].append(json.loads(path.read_text(encoding="utf-8")))
    if not found:
        raise ValueError(f"no scores in {folder}: expected LOSS-seedN/SUBSET.json")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.compare``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="output of the recipe")
    folder = parser.parse_args(arguments).folder
    try:
        subsets = read(folder)
    except ValueError as error:
        raise SystemExit(f"compare: {error}") from error
    parts = []
    for subset, losses in subsets.items():
        rows = {
            loss: {
                "seeds": len(scores),
                **{
                    title: format_mean_std(*mean_std([s[m]["score"] for s in scores]))
                    for m, title in TITLES.items()
                },
            }
            for loss, scores in losses.items()
        }
        parts += [f"{subset}:", table(dict.fromkeys(("seeds", *TITLES.values()), "{}"), rows, "loss")]
    text = "\n\n".join(parts)
    write_text(folder / "report.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
