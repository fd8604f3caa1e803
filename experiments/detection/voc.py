"""Boxes from Pascal VOC's XML files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from experiments.detection.coco import Box


def read_boxes(xml: bytes) -> list[tuple[str, Box]]:
    """(class, (x, y, width, height)) of each object, in pixels, without boxes of no area."""
    boxes = []
    for thing in ElementTree.fromstring(xml).iter("object"):
        edges = (float(thing.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax"))
        left, top, right, bottom = edges
        if right > left and bottom > top:
            boxes.append((thing.findtext("name", ""), (left, top, right - left, bottom - top)))
    return boxes
