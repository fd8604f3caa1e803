"""Detection results shown: AP by class frequency in a table and a plot, detections beside the truth."""

from __future__ import annotations

import json
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

PICTURED = 6  # images
TOTALS = ("AP", "AP50", "AP75")
SURE = 0.5  # detections of at least this score are drawn


def frequency_groups(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """The classes in thirds by training boxes: ``many``, ``medium``, ``few``; {} for less than three."""
    names = sorted(counts, key=lambda name: -counts[name])
    third = len(names) // 3
    if not third:
        return {}
    return {"many": names[:third], "medium": names[third:-third], "few": names[-third:]}


def columns(counts: Mapping[str, int]) -> list[str]:
    """What :func:`figures` gives."""
    return [*TOTALS, *(f"AP {group}" for group in frequency_groups(counts))]


def figures(bbox: Mapping[str, float | None], counts: Mapping[str, int]) -> dict[str, float | None]:
    """AP, AP50, AP75 and the mean AP of each frequency group, in percent, from COCO evaluation's results.

    None where there is no AP: nothing was detected, or the validation part has no such object.
    """
    row = {name: bbox[name] for name in TOTALS}
    for group, names in frequency_groups(counts).items():
        values = [value for name in names if (value := class_ap(bbox, name)) is not None]
        row[f"AP {group}"] = sum(values) / len(values) if len(values) == len(names) else None
    return row


def class_ap(bbox: Mapping[str, float | None], name: str) -> float | None:
    """AP of the class ``name``; COCO evaluation lists no classes when nothing at all was detected."""
    return bbox.get(f"AP-{name}")


def draw_ap_by_class(
    results: Mapping[str, Mapping[str, float | None]], counts: Mapping[str, int], path: Path
) -> None:
    """Plot every class' AP, from the most to the least frequent in training, a line a system."""
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
    """Draw the first images of the split ``val``: the truth, then each system's detections beside it.

    Args:
        data: folder in COCO layout.
        detections: by system, the file of detections that COCO evaluation wrote.
        path: the picture to write.
    """
    truth = json.loads((data / "val.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in truth["categories"]}
    columns: dict[str, list[dict[str, Any]]] = {"truth": truth["annotations"]}
    for system, file in detections.items():
        found = json.loads(file.read_text(encoding="utf-8"))
        columns[system] = [detection for detection in found if detection["score"] >= SURE]
    images = truth["images"][:PICTURED]
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
    """Outline COCO boxes, each class in its colour, with its name where there are several classes."""
    for box in boxes:
        x, y, width, height = box["bbox"]
        colour = f"C{box['category_id'] % 10}"
        axes.add_patch(plt.Rectangle((x, y), width, height, fill=False, color=colour, linewidth=1.5))
        if len(names) > 1:
            axes.text(x, y - 1, names[box["category_id"]], color="white", fontsize=7, va="bottom").set_bbox(
                {"facecolor": colour, "pad": 0.5, "linewidth": 0}
            )


def save(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all."""
    temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")
    figure.savefig(temporary, dpi=150)
    plt.close(figure)
    temporary.replace(path)
