"""Images to classify: scikit-learn's digits at hand, torchvision's data sets, or the user's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from accelerate import PartialState
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from experiments.studies.settings import Settings

DOWNLOADED = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "cifar10": CIFAR10, "cifar100": CIFAR100}
MOVED = ("cifar10", "cifar100")  # in training cut and mirrored; digits and clothes are not
PADDING = 4  # pixels


@dataclass
class Images:
    """A data set's two parts; an item is (image (channels, height, width) in [0, 1], class index)."""

    train: Dataset
    test: Dataset
    labels: Tensor  # of train, (N,) int64
    classes: int
    channels: int
    plain: Dataset | None = None  # train as it is, where train is cut and mirrored

    def trained_on(self) -> Dataset:
        """The training images as they are."""
        return self.train if self.plain is None else self.plain


class Pictures(Dataset):
    """Small images in memory, where augmenting a batch takes less time than decoding an image.

    Args:
        pixels: (N, channels, height, width) uint8.
        labels: (N,) int64.
        moved: pad with zeros, cut out at random and mirror every other image.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, moved: bool = False):
        self.pixels, self.labels, self.moved = pixels, labels, moved

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The items of a batch, as torch's loader asks for them."""
        chosen = torch.as_tensor(places)
        pixels = self.pixels[chosen]
        if self.moved:
            pixels = move(pixels)
        return list(zip(pixels.float().div(255).unbind(), self.labels[chosen].unbind()))


def move(pixels: Tensor) -> Tensor:
    """Cut (N, channels, height, width) images out of their padded selves at random; mirror half of them."""
    count, _, height, width = pixels.shape
    padded = torch.nn.functional.pad(pixels, (PADDING,) * 4)
    rows = torch.randint(2 * PADDING + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * PADDING + 1, (count, 1)) + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))
    number = torch.arange(count)[:, None, None]
    return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def load(settings: Settings, seed: int) -> Images:
    """The images that ``settings`` name; digits are split anew, in halves, by each seed.

    Raises:
        ValueError: they are neither a known data set nor a folder of the layout expected.
        RuntimeError: a download failed.
    """
    if settings.data == "digits":
        images, labels = digits()
        parts = train_test_split(images, labels, test_size=0.5, stratify=labels, random_state=seed)
        train_images, test_images, train_labels, test_labels = parts
        return Images(
            TensorDataset(train_images, train_labels), TensorDataset(test_images, test_labels),
            train_labels, 10, 1,
        )  # fmt: skip
    test = dataset(settings.data, settings)
    if settings.data in DOWNLOADED:
        pixels, labels = stored(settings.data, settings.root, True)
        train = Pictures(pixels, labels, settings.data in MOVED)
        return Images(train, test, labels, int(labels.max()) + 1, pixels.size(1), Pictures(pixels, labels))
    folder = Path(settings.data, "train")
    own = ImageFolder(str(folder), transform(settings.size, True))
    plain = ImageFolder(str(folder), transform(settings.size, False))
    return Images(own, test, torch.as_tensor(own.targets), len(own.classes), 3, plain)


def dataset(name: str, settings: Settings) -> Dataset:
    """The test part of a data set of torchvision, or of a folder with ``train/CLASS/`` and ``val/CLASS/``.

    Raises:
        ValueError: ``name`` is neither.
        RuntimeError: a download failed.
    """
    if name in DOWNLOADED:
        return Pictures(*stored(name, settings.root, False))
    for part in ("train", "val"):
        if not Path(name, part).is_dir():
            allowed = ", ".join(["digits", *DOWNLOADED])
            raise ValueError(f"data must be one of {allowed}, or a folder with train/ and val/, got {name!r}")
    return ImageFolder(str(Path(name, "val")), transform(settings.size, False))


@lru_cache(maxsize=4)
def stored(name: str, root: str, training: bool) -> tuple[Tensor, Tensor]:
    """One part of a data set of torchvision: (N, channels, height, width) uint8 and (N,) int64.

    Read from ``root/NAME/{train,val}/CLASS`` where there are such folders of images, else in torchvision's
    layout, which is downloaded to ``root`` where it is missing.

    Raises:
        RuntimeError: it is missing and cannot be downloaded; the message says from where.
    """
    folder = Path(root, name, "train" if training else "val")
    if folder.is_dir():
        dataset: Any = ImageFolder(str(folder), pil_to_tensor)
        return torch.stack([image for image, _ in dataset]), torch.as_tensor(dataset.targets)
    with PartialState().main_process_first():
        dataset = fetch(name, root, training)
    pixels = torch.as_tensor(dataset.data)  # (N, height, width), or with channels last
    pixels = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return pixels, torch.as_tensor(dataset.targets)


def fetch(name: str, root: str, training: bool) -> Any:
    """torchvision's data set, downloaded to ``root`` unless it is there; RuntimeError where that fails."""
    kind = DOWNLOADED[name]
    try:
        return kind(root, train=training)
    except RuntimeError:  # it is not there, or damaged
        print(f"downloading {name} to {root}")
    try:
        return kind(root, train=training, download=True)
    except (OSError, RuntimeError) as error:
        urls = ", ".join(getattr(kind, "mirrors", None) or [kind.url])
        raise RuntimeError(
            f"{name} is neither in {root} nor to be downloaded from {urls}: {error}"
        ) from error


def source(settings: Settings) -> str:
    """The name of the data, and that they are no longer the original pixels where JPEG files hold them."""
    folder = Path(settings.root, settings.data, "train")
    if settings.data in DOWNLOADED and next(folder.glob("*/*.jp*g"), None):
        return f"{settings.data} re-encoded as JPEG"
    return settings.data


def transform(size: int, training: bool) -> torchvision.transforms.Compose:
    """timm's usual cutting and mirroring, without its normalisation: the model does that."""
    return create_transform(size, is_training=training, mean=(0.0,) * 3, std=(1.0,) * 3, color_jitter=None)


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 handwritten digits: (N, 1, 8, 8) in [0, 1], and their classes."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.tensor(digits.target)


def photograph_patches(count: int) -> Dataset:
    """``count`` grey 8 x 8 patches of scikit-learn's two photographs, of every place and contrast."""
    random = np.random.default_rng(0)
    patches = []
    for photograph in load_sample_images().images:
        grey = torch.tensor(photograph.mean(axis=2), dtype=torch.float32) / 255
        small = torch.nn.functional.avg_pool2d(grey[None, None], 4)[0, 0]
        for _ in range(count // 2):
            y, x = (int(random.integers(0, side - 8)) for side in small.shape)
            patches.append(small[y : y + 8, x : x + 8].unsqueeze(0))
    images = torch.stack(patches)
    return TensorDataset(images, torch.zeros(len(images), dtype=torch.long))
