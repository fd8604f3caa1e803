"""Attacks stay within their bounds, and within numbers."""

import numpy as np
import pytest
import torch

for package in ("accelerate", "timm", "sklearn", "torchvision", "art"):
    pytest.importorskip(package)

from experiments.studies.adversarial import MASKED, MASKED_L2, art_classifier, attack, masked


@pytest.mark.parametrize(("margin", "none", "none_l2"), [(20, 0, 0), (60, 0, 100), (120, 100, 100)])
def test_a_sure_model_has_no_gradient_and_its_norm_vanishes_first(margin, none, none_l2):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -1.0])[:, None].expand(2, 16) * margin / 32)
    images = torch.ones(8, 1, 4, 4)
    target = art_classifier(model, images, 2)
    shares = masked(target, images.numpy(), np.zeros(8, dtype=int))
    assert shares == {MASKED: none, MASKED_L2: none_l2}


@pytest.mark.parametrize("slope", [0.1, 20.0])
def test_apgd_in_l2_moves_where_a_model_is_sure(slope):
    # Both models put the border at a mean pixel of 7/8, which is half an epsilon away.
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([slope, -slope])[:, None].expand(2, 16) / 2)
        model[1].bias.copy_(torch.tensor([-7.0, 7.0]) * slope)
    images, labels = torch.ones(8, 1, 4, 4), np.zeros(8, dtype=int)
    target = art_classifier(model, images, 2)
    assert target.predict(images.numpy()).argmax(axis=1).tolist() == labels.tolist()
    np.random.seed(0)  # the toolbox's generator
    by_cross_entropy = attack("AutoAttack L2", target, 1.0).attacks[0]
    moved = by_cross_entropy.generate(images.numpy(), labels)
    assert (target.predict(moved).argmax(axis=1) == 1).all()


@pytest.mark.parametrize(("name", "epsilon"), [("AutoAttack", 0.1), ("AutoAttack L2", 1.0), ("PGD L2", 1.0)])
def test_attacks_on_mostly_black_images(name, epsilon):
    torch.manual_seed(0)
    images = torch.zeros(40, 1, 12, 12)
    images[:, :, 4:8, 4:8] = torch.rand(40, 1, 4, 4)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 10)).eval()
    labels = model(images).argmax(dim=1).numpy()
    target = art_classifier(model, images, 10)
    moved = attack(name, target, epsilon).generate(images.numpy(), labels)
    assert np.isfinite(moved).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    difference = (moved - images.numpy()).reshape(40, -1)
    order = 2 if name.endswith("L2") else np.inf
    assert np.linalg.norm(difference, order, axis=1).max() <= epsilon + 1e-4
    assert np.mean(target.predict(moved).argmax(axis=1) == labels) < 0.5
