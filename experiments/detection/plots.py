"""Plots of detection results: AP by class frequency, detections beside the ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from el_plugins.utils.files import atomic_file, read_json
from experiments.detection.measures import class_ap

IMAGES_SHOWN = 6
MIN_SCORE = 0.5  # of the detections that are drawn


def draw_ap_by_class(
    results: Mapping[str, Mapping[str, float | None]], counts: Mapping[str, int], path: Path
) -> None:
    """Plot the AP of every class, from the most to the least frequent in training, one line per system."""
    names = sorted(counts, key=lambda name: -counts[name])
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    labels = [f"{name}\n{counts[name]}" for name in names]
    for system, bbox in results.items():
        heights = [class_ap(bbox, name) for name in names]
        axes.plot(labels, [math.nan if one is None else one for one in heights], "o-", label=system)
    axes.set(xlabel="class, and its number of training boxes", ylabel="AP (%)", title="AP by class")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def draw_detections(data: Path, detections: Mapping[str, Path], path: Path) -> None:
    """Draw the first images of the split ``val``: the ground truth, then each system's detections.

    Args:
        data: folder in COCO layout.
        detections: by system, the file of detections that COCO evaluation wrote.
        path: of the picture.
    """
    truth = read_json(data / "val.json")
    names = {category["id"]: category["name"] for category in truth["categories"]}
    columns: dict[str, list[dict[str, Any]]] = {"truth": truth["annotations"]}
    for system, file in detections.items():
        detected = read_json(file)
        columns[system] = [box for box in detected if box["score"] >= MIN_SCORE]
    images = truth["images"][:IMAGES_SHOWN]
    size = (2.4 * len(columns), 2.4 * len(images))
    figure, grid = plt.subplots(len(images), len(columns), figsize=size, layout="constrained", squeeze=False)
    for image, line in zip(images, grid):
        pixels = Image.open(data / "val" / image["file_name"])
        for axes, (title, boxes) in zip(line, columns.items()):
            axes.imshow(pixels)
            axes.set_axis_off()
            draw_boxes(axes, [box for box in boxes if box["image_id"] == image["id"]], names)
            if image is images[0]:
                axes.set_title(title)
    save(figure, path)


def draw_boxes(axes: Axes, boxes: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> None:
    """Outline COCO boxes, one colour per class, with the class names if there are several."""
    for box in boxes:
        x, y, width, height = box["bbox"]
        colour = f"C{box['category_id'] % 10}"
        axes.add_patch(plt.Rectangle((x, y), width, height, fill=False, color=colour, linewidth=1.5))
        if len(names) > 1:
            axes.text(x, y - 1, names[box["category_id"]], color="white", fontsize=7, va="bottom").set_bbox(
                {"facecolor": colour, "pad": 0.5, "linewidth": 0}
            )


def save(figure: Figure, path: Path) -> None:
    """Write a picture atomically."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
    plt.close(figure)
