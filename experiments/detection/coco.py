"""Data sets in COCO's layout: for each split a folder of images and a JSON file of boxes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from el_plugins.utils.files import read_json, write_json

Box = tuple[float, float, float, float]  # x, y, width, height
Picture = tuple[np.ndarray, Sequence[tuple[int, Box]]]


def write_split(
    folder: Path, split: str, pictures: Iterable[Picture], names: Sequence[str], count: int | None = None
) -> None:
    """Write ``folder/split/*.png`` and then ``folder/split.json``, whose presence marks a complete split.

    Args:
        folder: made if missing.
        split: name of the split.
        pictures: images, uint8 (H, W) or (H, W, 3) in RGB, each with the (class, (x, y, width, height)) in
            pixels of its objects.
        names: the classes' names; class i is COCO's category i + 1.
        count: number of pictures, for the progress bar.
    """
    images = folder / split
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    content: dict[str, list] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number + 1, "name": name} for number, name in enumerate(names)]
    bar = tqdm(pictures, desc=f"writing {split}", unit="image", total=count, disable=None)
    for number, (pixels, boxes) in enumerate(bar, start=1):
        file_name = f"{number:06d}.png"
        Image.fromarray(pixels).convert("RGB").save(images / file_name)
        height, width = pixels.shape[:2]
        content["images"].append({"id": number, "file_name": file_name, "height": height, "width": width})
        for category, box in boxes:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": category + 1,
                    "bbox": [round(float(value), 2) for value in box],
                    "area": round(float(box[2] * box[3]), 2),
                    "iscrowd": 0,
                }
            )
    write_json(folder / f"{split}.json", content)


def class_counts(path: Path) -> dict[str, int]:
    """Number of boxes of each class, by name, in a COCO JSON."""
    content = read_json(path)
    counts = {category["id"]: 0 for category in content["categories"]}
    for annotation in content["annotations"]:
        counts[annotation["category_id"]] += 1
    return {category["name"]: counts[category["id"]] for category in content["categories"]}
