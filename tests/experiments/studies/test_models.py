"""The bodies that the settings files name take the images of their data."""

import pytest
import torch
from torch.utils.data import TensorDataset

pytest.importorskip("torchvision")

from experiments.studies.data import Images
from experiments.studies.models import Classifier
from experiments.studies.settings import read_settings
from tests.commands import REPOSITORY

SIDES = {"mnist": (1, 28), "fashion_mnist": (1, 28), "cifar10": (3, 32)}


@pytest.mark.parametrize(
    "name", ["mnist", "mnist_ood", "mnist_adversarial", "fashion_mnist_long_tail", "cifar10_small"]
)
def test_settings_files(name):
    settings = read_settings({}, REPOSITORY / "examples" / "studies" / f"{name}.yaml", [])
    channels, side = SIDES[settings.data]
    pixels = torch.rand(4, channels, side, side)
    data = TensorDataset(pixels, torch.arange(4))
    model = Classifier(settings, Images(data, data, torch.arange(4), 10, channels))
    assert model(pixels).shape == (4, 10)


def test_pooling_needs_no_more_weights():
    data = TensorDataset(torch.rand(4, 1, 28, 28), torch.arange(4))
    images = Images(data, data, torch.arange(4), 10, 1)
    small, pooled = (
        Classifier(read_settings({}, None, [f"model={name}"]), images) for name in ("small", "pooled")
    )
    assert [p.shape for p in small.parameters()] == [p.shape for p in pooled.parameters()]
