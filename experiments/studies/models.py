"""An image classifier of two parts: a body that makes features, and a linear layer."""

from __future__ import annotations

import timm
from torch import Tensor, nn

from experiments.studies.data import Images
from experiments.studies.settings import Settings


class Classifier(nn.Module):
    """Images in [0, 1] to logits; normalisation is the first layer, so that attacks see plain images.

    Args:
        settings: ``model`` names the body.
        images: decide channels and classes.
    """

    def __init__(self, settings: Settings, images: Images):
        super().__init__()
        self.normalise = nn.BatchNorm2d(images.channels, affine=False)
        if settings.model == "small":
            width = 64
            self.body = small(images.channels)
        else:
            self.body = timm.create_model(settings.model, num_classes=0, in_chans=images.channels)
            width = int(self.body.num_features)  # type: ignore[arg-type]
        self.head = nn.Linear(width, images.classes)

    def features(self, images: Tensor) -> Tensor:
        """(N, channels, height, width) to (N, width)."""
        return self.body(self.normalise(images))

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, height, width) to logits (N, classes)."""
        return self.head(self.features(images))


def small(channels: int) -> nn.Module:
    """Two convolutions and a layer for images from 8 x 8 pixels on, trained in seconds.

    Normalised, as the paper's models are: without that the normal bonus, which has no lower bound, lets the
    weights of all layers grow together until they overflow.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
    )
