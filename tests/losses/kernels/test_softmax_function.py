"""The autograd node of encouraging loss: what backward does, checks and refuses."""

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import use


def test_second_derivatives_are_refused():
    z = torch.randn(4, 5, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    with use("chunks"):
        first = torch.autograd.grad(encouraging_loss(z, target), z, create_graph=True)[0]
        with pytest.raises(RuntimeError, match="differentiable once: for second derivatives"):
            first.sum().backward()


def test_two_backward_passes_are_right_or_refused():
    z = torch.randn(4, 5, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    with use("chunks"):
        loss = encouraging_loss(z, target)
        written = encouraging_loss(z * 1, target, inplace=True)
    first, second = (torch.autograd.grad(loss, z, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    torch.autograd.grad(written, z, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(written, z)


def test_logits_changed_after_forward_are_detected():
    z = torch.randn(4, 5, requires_grad=True)
    logits = z * 1
    with use("chunks"):
        loss = encouraging_loss(logits, torch.tensor([0, 1, 2, 3]))
    logits.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_class_weights_are_constants():
    z, target, weight = torch.randn(3, 4, requires_grad=True), torch.tensor([0, 1, 2]), torch.ones(4)
    with use("chunks"):
        loss = encouraging_loss(z, target, weight, label_smoothing=0.1)
        with pytest.raises(ValueError, match="weight must not require a gradient"):
            encouraging_loss(z, target, torch.ones(4, requires_grad=True))
    weight.mul_(10)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_backward_takes_the_path_of_forward():
    z = torch.randn(4, 5, requires_grad=True)
    with use("chunks"):
        loss = encouraging_loss(z, torch.tensor([0, 1, 2, 3]))
    with use("formula"):
        loss.backward()
    assert z.grad.isfinite().all()
