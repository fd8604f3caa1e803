"""Blood cells under a microscope, BCCD (MIT licence), in COCO layout: three classes, naturally imbalanced."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from el_plugins.utils.archives import read_members
from el_plugins.utils.downloads import download
from experiments.detection.coco import Picture, write_split
from experiments.detection.voc import read_boxes

ADDRESS = "https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip"
FILE = re.compile(r"(?:^|/)BCCD/((?:Annotations|ImageSets/Main|JPEGImages)/[^/]+\.(?:xml|txt|jpg))$")
# Of the files that FILE names: an archive that GitHub packs anew has other bytes.
SHA256 = "debd2d76b13c300a3999f96a08cbe9ada5f231c3f882f9877a65a01a695872d1"
# The data set's own split, by picture: 292 and 72.
LISTS = {"train": "trainval", "val": "test"}
CLASSES = ["RBC", "WBC", "Platelets"]
SCALE = 3 / 8  # of 640 x 480 pixels: the config's anchors fit all three kinds of cells
HEIGHT = 180


def make(folder: Path, archive: Path) -> None:
    """Write the splits ``train`` and ``val`` into ``folder``, from ``archive``, downloaded if missing.

    Raises:
        RuntimeError: the archive is missing and cannot be downloaded.
        ValueError: it is damaged, or its content is not BCCD's.
    """
    missing = [split for split in LISTS if not (folder / f"{split}.json").exists()]
    files = read(download(ADDRESS, archive, check)) if missing else {}
    for split in missing:
        names = files[f"ImageSets/Main/{LISTS[split]}.txt"].decode().split()
        write_split(folder, split, (picture(files, name) for name in names), CLASSES, len(names))


def check(archive: Path) -> None:
    """Raise ValueError unless ``archive`` has BCCD's content, so that no other download is kept."""
    read(archive)


def read(archive: Path) -> dict[str, bytes]:
    """The files of BCCD in ``archive``, by name; ValueError if they are not those of the release."""
    members = read_members(archive, FILE).items()
    files = {match[1]: content for name, content in members if (match := FILE.search(name))}
    digests = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    if hashlib.sha256("".join(digests).encode()).hexdigest() != SHA256:
        raise ValueError(f"{archive} is not BCCD as released at {ADDRESS}: {len(files)} files of it")
    return files


def picture(files: dict[str, bytes], name: str) -> Picture:
    """A picture and its boxes, reduced by :data:`SCALE`."""
    pixels = Image.open(io.BytesIO(files[f"JPEGImages/{name}.jpg"])).convert("RGB")
    small = pixels.resize((round(pixels.width * SCALE), HEIGHT))
    boxes = read_boxes(files[f"Annotations/{name}.xml"])
    scaled = [
        (CLASSES.index(label), (SCALE * x, SCALE * y, SCALE * width, SCALE * height))
        for label, (x, y, width, height) in boxes
    ]
    return np.asarray(small), scaled
