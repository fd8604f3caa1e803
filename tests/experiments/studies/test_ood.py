"""Foreign examples are those whose scores are higher; a score for each foreign set, and their mean."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

for package in ("accelerate", "timm", "sklearn", "torchvision"):
    pytest.importorskip(package)

from experiments.studies import ood
from experiments.studies.data import Images
from experiments.studies.settings import Settings


def with_largest_logits(*values):
    """A data set of logits (value, 0): all three indicators fall as the value rises."""
    logits = torch.tensor(values).unsqueeze(1) * torch.tensor([1.0, 0.0])
    return TensorDataset(logits, torch.zeros(len(values), dtype=torch.long))


def test_scores_of_each_foreign_set_and_their_means(monkeypatch):
    train, test = with_largest_logits(0.5), with_largest_logits(5.0, 6.0, 7.0, 8.0)
    images = Images(train, test, torch.zeros(1, dtype=torch.long), 2, 1)
    foreign = {"far": with_largest_logits(1.0, 2.0), "near": with_largest_logits(1.0, 9.0, 9.0, 9.0)}
    monkeypatch.setattr(ood, "inside_and_outside", lambda settings, seed: (images, foreign))
    monkeypatch.setattr(ood, "classifier", lambda *_: None)
    monkeypatch.setattr(ood, "apply", lambda model, data, settings: data.tensors)
    measures = ood.run(Settings(), nn.CrossEntropyLoss(), 1)
    # Far: all are below the test images. Near: one of four is, and the threshold that keeps 95 % keeps all.
    wanted = {", far": (100, 0), ", near": (25, 75), "": (62.5, 37.5)}
    assert measures == {
        f"{metric}, {indicator}{which}": value
        for which, values in wanted.items()
        for metric, value in zip(("AUROC", "FPR95"), values)
        for indicator in ("minimum_energy", "maximum_probability", "free_energy")
    }
