"""Repair a truncated ``checkpoint_last.pt``: ``python -m el_plugins.checkpoints.repair FOLDER``.

fairseq writes a checkpoint to a temporary file and renames it, but then copies it to ``checkpoint_last.pt``
in place. If it is killed while copying, the next start fails on the truncated file.
"""

from __future__ import annotations

import argparse
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from el_plugins.utils.files import atomic_file


def is_cut_short(path: Path) -> bool:
    """Whether ``path`` is a zip, as torch writes it, without its end; torch's older format is left alone."""
    with path.open("rb") as file:
        return b"PK".startswith(file.read(2)) and not zipfile.is_zipfile(path)


def repair_last(checkpoints: Path) -> None:
    """Replace a truncated ``checkpoint_last.pt`` by the newest complete checkpoint; delete it if none is."""
    last = checkpoints / "checkpoint_last.pt"
    if last.exists() and is_cut_short(last):
        others = sorted(checkpoints.glob("checkpoint*[0-9].pt"), key=lambda path: path.stat().st_mtime)
        complete = [path for path in others if zipfile.is_zipfile(path)]
        if complete:
            with atomic_file(last) as temporary:
                shutil.copy(complete[-1], temporary)
        else:
            last.unlink()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.checkpoints.repair``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.checkpoints.repair", description=__doc__)
    parser.add_argument("folder", type=Path, help="--save-dir of fairseq-train; it need not exist")
    repair_last(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
