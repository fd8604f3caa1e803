"""Archives as data sets are released: .zip, and .tar with any compression."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from pathlib import Path


def read_archive(path: Path) -> dict[str, bytes]:
    """The contents of all files by name, read completely so that damage is noticed.

    Raises:
        ValueError: it is damaged, or not an archive.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
        with tarfile.open(path) as archive:
            opened = ((member.name, archive.extractfile(member)) for member in archive)
            return {name: file.read() for name, file in opened if file}
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{path} is damaged, or not a .zip or .tar: {error}") from error
