"""The calibration error as the paper's authors count it."""

import numpy as np
import pytest
import torch

for package in ("accelerate", "timm", "sklearn", "torchvision", "torchmetrics"):
    pytest.importorskip(package)

from experiments.studies.calibration import BINS, calibration_error


def by_hand(confidences, right):
    """The mean gap of bins (a, b], weighted by their samples, in float64."""
    bins = np.ceil(confidences * BINS).astype(int)
    gaps = [abs(np.sum((confidences - right)[bins == number])) for number in range(1, BINS + 1)]
    return 100 * sum(gaps) / len(right)


def test_sure_and_certain_are_one_bin():
    """A confidence that rounds to 1 is no bin of its own, which only very sure models would have."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4000, 10, generator=generator) * torch.linspace(0.5, 30, 4000)[:, None]
    target = logits.argmax(dim=1)
    wrong = torch.rand(4000, generator=generator) < 0.1
    target[wrong] = (target[wrong] + 1) % 10
    confidences = logits.double().softmax(dim=1).amax(dim=1)
    assert (logits.softmax(dim=1) == 1).any()
    expected = by_hand(confidences.numpy(), (~wrong).double().numpy())
    assert calibration_error(logits, target) == pytest.approx(expected, abs=1e-3)
