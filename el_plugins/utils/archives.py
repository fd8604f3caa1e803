"""Members of archives from elsewhere, read into memory: nothing is unpacked to disk, and no bomb goes off."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

PIECE = 2**16  # bytes
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
LIMIT = 2**28  # bytes of all members together; the largest release read here has a tenth of it


def read_members(path: Path, wanted: re.Pattern[str], limit: int = LIMIT) -> dict[str, bytes]:
    """The content of the regular files whose names match ``wanted``, by name.

    Args:
        path: a .zip or a .tar, compressed or not. Links, devices and folders in it are passed over.
        limit: of the bytes of these files, unpacked.

    Raises:
        ValueError: it is damaged, no such archive, or has more than ``limit`` bytes; the message names it.
    """
    members: dict[str, bytes] = {}
    spend = Budget(path, limit)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if wanted.search(entry.filename) and not entry.is_dir():
                        check_method(path, entry)
                        with archive.open(entry) as packed:  # its size need not be the one that is named
                            pieces = iter(lambda: spend(packed.read(PIECE)), b"")
                            members[entry.filename] = b"".join(pieces)
        else:
            # As one stream, so that what is passed over and the headers are counted, too.
            with unpacked(path) as stream:
                counted: Any = Counted(stream, spend)
                with tarfile.open(fileobj=counted, mode="r|") as tar:
                    for member in tar:
                        if member.isfile() and wanted.search(member.name):
                            file = tar.extractfile(member)
                            assert file is not None  # of a regular file
                            members[member.name] = file.read()
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,  # a kind of .zip that Python does not read
        RuntimeError,  # an encrypted member
        lzma.LZMAError,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} is damaged, or not a .tgz or .zip: {error}") from error
    return members


def check_method(path: Path, entry: zipfile.ZipInfo) -> None:
    """Raise ValueError for a method that Python unpacks all at once, whatever comes of it."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{path}: {entry.filename} must be stored or deflated, not method {entry.compress_type}"
        )


class Budget:
    """Passes bytes on until they are more than ``limit``; then ValueError."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit, self.left = path, limit, limit

    def __call__(self, content: bytes) -> bytes:
        """``content``, if the limit allows it."""
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(
                f"{self.path} unpacks to more than {self.limit} bytes: it is no archive of this kind"
            )
        return content


class Counted:
    """A file to be read, all of whose bytes go through a :class:`Budget`."""

    def __init__(self, file: IO[bytes], spend: Budget) -> None:
        self.file, self.spend = file, spend

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes."""
        return self.spend(self.file.read(size))


def unpacked(path: Path) -> IO[bytes]:
    """The uncompressed content of a file, compressed or not."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opened in OPENERS.items():
        if start.startswith(magic):
            return opened(path)
    return path.open("rb")
