"""Files that are complete or absent, and a guard against mixing results of different settings."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block that names no file, such as that of a full disk, the name ``path``."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary file to write, which replaces ``path`` if the block succeeds and is removed if it fails.

    It lies beside ``path``, since a rename is atomic within one file system only. A link stays: its target
    is replaced. What a killed process left behind is overwritten.

    Raises:
        OSError: it cannot be written; the error names ``path`` if it would name no file.
        ValueError: ``path`` exists and is not a regular file, but a folder, a device or a pipe.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise ValueError(f"cannot write {path}: it exists and is not a regular file")
    temporary = target.with_name(target.name + ".tmp")
    try:
        with naming(path):
            yield temporary
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which is renamed to ``folder`` if the block succeeds.

    It is removed if the block fails; what a killed process left is removed by the next one.
    """
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with naming(folder):
            yield unfinished
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        ValueError: it is not UTF-8; the message names it.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: it is not JSON, or not UTF-8; the message names it.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a small text file with :func:`atomic_file`."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """:func:`write_text` of ``value`` as JSON.

    Raises:
        ValueError: it holds NaN or infinity, which JSON cannot represent: see :func:`without_nan`.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Sequence[Any]) -> None:
    """Like :func:`write_json`, one line per row."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def without_nan(value: Any) -> Any:
    """``value`` with None in place of every NaN in its dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def check_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Record ``settings`` in ``folder/settings.json``, and refuse to mix results of different settings.

    Raises:
        ValueError: the folder's results were made with other settings; the message names those that differ.
    """
    path = folder / "settings.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)
        return
    recorded = read_json(path)
    if not isinstance(recorded, dict):
        raise ValueError(f"{path} holds no settings: take another folder")
    if recorded != settings:
        names = [*settings, *(name for name in recorded if name not in settings)]
        changed = [name for name in names if settings.get(name) != recorded.get(name)]
        raise ValueError(f"{folder} was made with other settings ({', '.join(changed)}): take another folder")
