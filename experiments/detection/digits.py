"""Scenes of scikit-learn's real handwritten digits: ten classes with a long tail, in COCO layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from experiments.detection.coco import Box, Picture, write_split

SIZE = 128  # pixels a side
SCENES = {"train": 1200, "val": 200}
SHARES = {"train": 0.7, "val": 0.3}  # of the 1,797 digits; a digit is in one split only
RAREST = 0.1  # frequency of the rarest class in training, as a part of the most frequent one's
# From the most frequent to the rarest; not in numerical order, so that frequency is not a digit's value.
ORDER = (3, 8, 1, 6, 0, 9, 4, 7, 2, 5)


def make(folder: Path, seed: int = 0) -> None:
    """Write the splits ``train`` (long-tailed classes) and ``val`` (even classes) into ``folder``."""
    generator = np.random.default_rng(seed)
    digits = load_digits()
    shuffled = generator.permutation(len(digits.images))
    cut = round(SHARES["train"] * len(shuffled))
    chosen = {"train": shuffled[:cut], "val": shuffled[cut:]}
    for split, count in SCENES.items():
        if not (folder / f"{split}.json").exists():
            tail = RAREST if split == "train" else 1.0
            frequency = np.empty(10)
            frequency[list(ORDER)] = np.geomspace(1, tail, 10)
            images, labels = digits.images[chosen[split]], digits.target[chosen[split]]
            split_generator = np.random.default_rng([seed, count])
            pictures = scenes(images, labels, frequency / frequency.sum(), count, split_generator)
            write_split(folder, split, pictures, [str(digit) for digit in range(10)], count)


def scenes(
    images: np.ndarray, labels: np.ndarray, frequency: np.ndarray, count: int, generator: np.random.Generator
) -> Iterator[Picture]:
    """``count`` grey scenes of three to eight digits each, fewer if there is no room.

    Args:
        images: (N, 8, 8), ink from 0 to 16.
        labels: (N), 0 to 9.
        frequency: (10), the classes' probabilities.

    Yields:
        Pixels, uint8 (SIZE, SIZE), and (class, (x, y, width, height)) of each digit.
    """
    for _ in range(count):
        scene = background(generator)
        boxes: list[tuple[int, Box]] = []
        for label in generator.choice(10, size=generator.integers(3, 9), p=frequency):
            ink = enlarge(images[generator.choice(np.flatnonzero(labels == label))], generator)
            height, width = ink.shape
            for _ in range(20):
                x, y = generator.integers(0, SIZE - width + 1), generator.integers(0, SIZE - height + 1)
                if all(disjoint((x, y, width, height), other) for _, other in boxes):
                    paste(scene, ink, x, y, generator)
                    boxes.append((int(label), (x, y, width, height)))
                    break
        yield np.clip(scene, 0, 255).astype(np.uint8), boxes


def background(generator: np.random.Generator) -> np.ndarray:
    """An uneven grey: smooth blotches and grain, float (SIZE, SIZE)."""
    blotches = Image.fromarray(generator.uniform(0, 150, size=(4, 4)).astype(np.float32))
    smooth = np.asarray(blotches.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return smooth + generator.normal(0, 6, size=(SIZE, SIZE))


def enlarge(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One digit, 14 to 48 pixels high, cut to its ink: float in [0, 1]."""
    side = int(generator.integers(14, 49))
    large = Image.fromarray(image.astype(np.float32) / 16).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.clip(np.asarray(large), 0, 1)
    rows, columns = np.flatnonzero((ink > 0.15).any(axis=1)), np.flatnonzero((ink > 0.15).any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def paste(scene: np.ndarray, ink: np.ndarray, x: int, y: int, generator: np.random.Generator) -> None:
    """Blend ``ink`` into ``scene`` at (x, y), somewhat lighter than what is there."""
    part = scene[y : y + ink.shape[0], x : x + ink.shape[1]]
    part += ink * (part.mean() + generator.uniform(80, 140) - part)


def disjoint(box: Box, other: Box) -> bool:
    """Whether two boxes do not overlap."""
    return (
        box[0] + box[2] <= other[0]
        or other[0] + other[2] <= box[0]
        or box[1] + box[3] <= other[1]
        or other[1] + other[3] <= box[1]
    )
