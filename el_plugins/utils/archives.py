"""Members of archives from elsewhere, read into memory: nothing is unpacked to disk, and no bomb goes off."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from pathlib import Path

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
    left = limit
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if wanted.search(entry.filename) and not entry.is_dir():
                        left = _spend(left, entry.file_size, path, limit)
                        members[entry.filename] = archive.read(entry)
        else:
            with tarfile.open(path) as tar:
                for member in tar:
                    # What is passed over is unpacked, too, if not kept.
                    left = _spend(left, member.size, path, limit)
                    if member.isfile() and wanted.search(member.name):
                        file = tar.extractfile(member)
                        assert file is not None  # of a regular file
                        members[member.name] = file.read()
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,  # an unknown compression
        RuntimeError,  # an encrypted member
        zlib.error,
    ) as error:
        raise ValueError(f"{path} is damaged, or not a .tgz or .zip: {error}") from error
    return members


def _spend(left: int, size: int, path: Path, limit: int) -> int:
    if size > left:
        raise ValueError(f"{path} unpacks to more than {limit} bytes: it is no archive of this kind")
    return left - size
