"""The loss that is trained with, against its formula in float64."""

import math

import pytest
import torch

for package in ("accelerate", "timm", "sklearn", "torchvision", "pytorch_metric_learning"):
    pytest.importorskip(package)

from experiments.studies import large_margin
from experiments.studies.settings import Settings


def margin_log_p(features, matrix, target):
    """Log-softmax whose target has |w||x| psi(angle) as its logit (L-Softmax, Eq. 4 to 6, margin 2)."""
    lengths = features.norm(dim=1, keepdim=True) * matrix.norm(dim=0)
    logits = features @ matrix
    angle = (logits / lengths).acos()
    psi = torch.where(angle < math.pi / 2, (2 * angle).cos(), -(2 * angle).cos() - 2)
    rows = torch.arange(len(target))
    logits[rows, target] = (lengths * psi)[rows, target]
    return logits.log_softmax(dim=1)[rows, target]


@pytest.mark.parametrize("name", ["large margin CE", "large margin EL 1"])
def test_the_margin_is_trained_with_the_systems_loss(name, monkeypatch):
    seen = []
    monkeypatch.setattr(large_margin, "fit", lambda *arguments: seen.append(arguments))
    measured = large_margin.run(Settings(), large_margin.STUDY.systems[name], 1)
    assert 0 <= measured["accuracy"] <= 100
    ((model, data, loss, _),) = seen
    assert model.train()(data[:8][0]).shape == (8, 64)  # features, which the loss takes
    torch.manual_seed(0)
    target = torch.arange(200) % 10
    matrix = model.head.W.detach()
    # Many near the target's column: far from it no probability is left that a bonus would show in.
    lengths = torch.linspace(-0.05, 0.15, 200).unsqueeze(1)
    features = lengths * (matrix.t()[target] + torch.randn(200, 64))
    log_p = margin_log_p(features.double(), matrix.double(), target)
    assert 0.9 < log_p.exp().max() < 1 - 1e-4
    expected = -log_p
    if name == "large margin EL 1":
        expected = expected + (1 - log_p.exp()).log()
    torch.testing.assert_close(loss(features, target).double(), expected.mean(), rtol=1e-4, atol=1e-5)


def test_without_a_margin_it_is_cross_entropy(monkeypatch):
    seen = []
    monkeypatch.setattr(large_margin, "fit", lambda *arguments: seen.append(arguments))
    large_margin.run(Settings(), large_margin.STUDY.systems["CE"], 1)
    ((model, data, loss, _),) = seen
    images, target = (part[:200] for part in data.tensors)
    logits = model(images)
    expected = -logits.double().log_softmax(dim=1)[torch.arange(200), target].mean()
    torch.testing.assert_close(loss(logits, target).double(), expected)
