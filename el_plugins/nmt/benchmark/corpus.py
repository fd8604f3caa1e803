"""The benchmark's corpus: made by its own command, and identified by digests of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from el_plugins.nmt.benchmark.settings import Data
from el_plugins.utils.commands import prepare_data
from el_plugins.utils.files import sha256


def prepare(data: Data, folder: Path) -> None:
    """Make the corpus with ``data.prepare``, run in ``folder``, unless it exists.

    Raises:
        ValueError: a file is missing that no command makes.
        RuntimeError: the command failed.
    """
    if not Path(data.folder).exists() and data.prepare:
        prepare_data(data.prepare, folder)
    for path in (data.folder, *data.references.values()):
        if not Path(path).exists():
            raise ValueError(f"{path} does not exist, and no command of data.prepare makes it")


def pair(data: Data) -> str:
    """The languages as the corpus' file names have them: fairseq finds a corpus of either direction."""
    pairs = f"{data.source}-{data.target}", f"{data.target}-{data.source}"
    return next((one for one in pairs if any(Path(data.folder).glob(f"*.{one}.*"))), pairs[0])


def training_digest(data: Data) -> str:
    """SHA-256 of the dictionaries and of the binarised training and validation parts."""
    folder = Path(data.folder)
    parts = (f"train*.{pair(data)}.*", f"valid.{pair(data)}.*", "dict.*")
    return _digest([path for part in parts for path in sorted(folder.glob(part))])


def subset_digest(data: Data, subset: str) -> str:
    """SHA-256 of a binarised subset."""
    prefix = f"{subset}.{pair(data)}."
    return _digest([path for path in sorted(Path(data.folder).iterdir()) if path.name.startswith(prefix)])


def reference_digest(data: Data, subset: str) -> str:
    """SHA-256 of a test subset's references."""
    return _digest([Path(data.references[subset])])


def _digest(files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        state = path.stat()
        total.update(path.name.encode() + _file_digest(path, state.st_size, state.st_mtime_ns))
    return total.hexdigest()


@cache
def _file_digest(path: Path, size: int, changed: int) -> bytes:
    """SHA-256 of a file, computed once while its size and time of change stay the same."""
    return bytes.fromhex(sha256(path))
