"""Images to classify: scikit-learn's digits at hand, torchvision's data sets, or a folder of one's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from accelerate import PartialState
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import RandomCrop, RandomHorizontalFlip

from experiments.studies.settings import Settings

DOWNLOADED = {
    "mnist": torchvision.datasets.MNIST,
    "fashion_mnist": torchvision.datasets.FashionMNIST,
    "cifar10": torchvision.datasets.CIFAR10,
    "cifar100": torchvision.datasets.CIFAR100,
}


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
        train, test = TensorDataset(train_images, train_labels), TensorDataset(test_images, test_labels)
        return Images(train, test, train_labels, 10, 1)
    train, test = (dataset(settings.data, settings, training) for training in (True, False))
    plain = copy.copy(train)
    plain.transform = test.transform
    labels = torch.as_tensor(train.targets)
    return Images(train, test, labels, len(train.classes), train[0][0].size(0), plain)


def dataset(name: str, settings: Settings, training: bool) -> torchvision.datasets.VisionDataset:
    """One part of a data set of torchvision, or of a folder with ``train/CLASS/`` and ``val/CLASS/``.

    Raises:
        ValueError: ``name`` is neither.
    """
    if name in DOWNLOADED:
        with PartialState().main_process_first():
            kept = DOWNLOADED[name](settings.root, train=training, download=True)
        size = kept[0][0].size[0]
        steps = [torchvision.transforms.ToTensor()]
        if training and not name.endswith("mnist"):  # digits and clothes are neither cut nor mirrored
            steps = [RandomCrop(size, padding=4), RandomHorizontalFlip(), *steps]
        kept.transform = torchvision.transforms.Compose(steps)
        return kept
    folder = Path(name) / ("train" if training else "val")
    if not folder.is_dir():
        allowed = ", ".join(["digits", *DOWNLOADED])
        raise ValueError(f"data must be one of {allowed}, or a folder with train/ and val/, got {name!r}")
    return torchvision.datasets.ImageFolder(str(folder), transform(settings.size, training))


def transform(size: int, training: bool) -> torchvision.transforms.Compose:
    """timm's usual cutting and mirroring, without its normalisation: the model does that."""
    return create_transform(size, is_training=training, mean=(0.0,) * 3, std=(1.0,) * 3, color_jitter=None)


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 handwritten digits: (N, 1, 8, 8) in [0, 1], and their classes."""
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.tensor(found.target)


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
