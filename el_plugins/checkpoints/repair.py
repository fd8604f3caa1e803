"""Make fairseq's ``checkpoint_last.pt`` whole again: ``python -m el_plugins.checkpoints.repair FOLDER``.

fairseq writes a checkpoint under another name and renames it, but then copies it to ``checkpoint_last.pt`` in
place. Killed in mid-copy, it cannot go on: it finds a file there that it cannot read.
"""

from __future__ import annotations

import argparse
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path


def repair_last(checkpoints: Path) -> None:
    """Replace a broken ``checkpoint_last.pt`` by the newest whole checkpoint; remove it if there is none."""
    last = checkpoints / "checkpoint_last.pt"
    if last.exists() and not zipfile.is_zipfile(last):
        others = sorted(checkpoints.glob("checkpoint*[0-9].pt"), key=lambda path: path.stat().st_mtime)
        whole = [path for path in others if zipfile.is_zipfile(path)]
        last.unlink()
        if whole:
            shutil.copy(whole[-1], last.with_suffix(".tmp"))
            last.with_suffix(".tmp").rename(last)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.checkpoints.repair``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.checkpoints.repair", description=__doc__)
    parser.add_argument("folder", type=Path, help="--save-dir of fairseq-train; it need not exist")
    repair_last(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
