"""The benchmark's data: made if missing, checked before the first update, and fingerprinted."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from el_plugins.detection.benchmark.settings import Benchmark, DataSet
from el_plugins.utils.commands import prepare_data


def prepare(benchmark: Benchmark, folder: Path) -> None:
    """Run the YAML file's ``prepare`` command in ``folder`` if a file or folder is missing.

    Raises:
        RuntimeError: the command failed.
    """
    data = benchmark.data
    paths = [path for part in (data.train, data.test) for path in (part.annotations, part.images)]
    if data.prepare and not all(map(os.path.exists, paths)):
        prepare_data(data.prepare, folder)


def fingerprint(data: DataSet) -> str:
    """SHA-256 of the annotations, and of the names and sizes of the images that they name.

    Sizes only: reading COCO's 20 GB of images would take minutes at every start.

    Raises:
        ValueError: the annotations are not in COCO's format, or an image is missing.
    """
    try:
        content = Path(data.annotations).read_bytes()
        names = [image["file_name"] for image in json.loads(content)["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{data.annotations} is not a COCO annotation file: {error!r}") from error
    folder = Path(data.images)
    sizes = _sizes(folder)
    missing = [name for name in names if name not in sizes and not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {len(missing)} of {len(names)} images, such as {missing[0]}")
    listing = [(name, sizes.get(name) or (folder / name).stat().st_size) for name in sorted(names)]
    return hashlib.sha256(hashlib.sha256(content).digest() + json.dumps(listing).encode()).hexdigest()


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of a folder, by name; {} if it does not exist."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
