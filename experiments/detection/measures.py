"""AP by class frequency, from COCO's results."""

from __future__ import annotations

from collections.abc import Mapping


def frequency_thirds(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """The classes by training boxes: ``frequent``, ``middle`` and ``rare`` third; {} for fewer than three.

    Thirds of whatever classes there are, unlike the many, medium and few of :mod:`el_plugins.metrics`.
    """
    names = sorted(counts, key=lambda name: -counts[name])
    third = len(names) // 3
    if not third:
        return {}
    return {"frequent": names[:third], "middle": names[third:-third], "rare": names[-third:]}


def third_aps(bbox: Mapping[str, float | None], counts: Mapping[str, int]) -> dict[str, float | None]:
    """``AP frequent``, ``AP middle`` and ``AP rare``: the mean AP, in percent, of each third of the classes.

    None if a class has no AP: nothing was detected, or the validation set has no such object.
    """
    means: dict[str, float | None] = {}
    for third, names in frequency_thirds(counts).items():
        values = [value for name in names if (value := class_ap(bbox, name)) is not None]
        means[f"AP {third}"] = sum(values) / len(values) if len(values) == len(names) else None
    return means


def class_ap(bbox: Mapping[str, float | None], name: str) -> float | None:
    """AP of the class ``name``; COCO evaluation lists no classes when nothing at all was detected."""
    return bbox.get(f"AP-{name}")
