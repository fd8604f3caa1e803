"""Backward of the Triton kernels: in place, twice, under torch.func, or refused; see triton_cases.py."""

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import use
from tests.losses.kernels import triton_cases
from tests.losses.kernels.comparisons import results
from tests.losses.kernels.triton_cases import case

no_fallback = triton_cases.no_fallback  # for every test of this file too


def test_in_place():
    z, target = case(5, 30)
    leaf = z.requires_grad_()
    expected = results(z, target)[1]
    logits = leaf * 1
    with use("triton"):
        encouraging_loss(logits, target, reduction="sum", inplace=True).backward()
    torch.testing.assert_close(leaf.grad.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(logits.detach(), leaf.grad)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_second_backward_is_right_or_refused(reduction, inplace):
    z, target = case(5, 30)
    target[2] = -100
    leaf = z.requires_grad_()
    with use("formula"):
        (expected,) = torch.autograd.grad(encouraging_loss(leaf, target, reduction=reduction), leaf)
    with use("triton"):
        loss = encouraging_loss(leaf * 1, target, reduction=reduction, inplace=inplace)
    first = torch.autograd.grad(3 * loss, leaf, retain_graph=True)[0]
    torch.testing.assert_close(first, 3 * expected, rtol=1e-5, atol=1e-6)
    first.zero_()  # the caller's: no part of what the next backward returns
    if inplace:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(loss, leaf)
    else:
        torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected, rtol=1e-5, atol=1e-6)


def test_transforms_of_torch_func():
    z, target = case(4, 9)
    target[2] = -100

    def loss(z, target):
        return encouraging_loss(z, target, label_smoothing=0.1)

    transforms = [
        lambda z: torch.func.grad(loss)(z, target),
        lambda z: torch.func.vmap(torch.func.grad(loss))(z.unsqueeze(1), target.unsqueeze(1)),
        lambda z: torch.func.jacrev(lambda z: encouraging_loss(z, target, reduction="none"))(z),
    ]
    for transform in transforms:
        with use("formula"):
            expected = transform(z.double())
        with use("triton"):
            actual = transform(z)
        torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_what_is_differentiable_once(reduction):
    z, target = case(4, 9)
    z.requires_grad_()
    with use("triton"):
        loss = encouraging_loss(z, target, reduction=reduction).sum()
        with pytest.raises(RuntimeError, match="differentiable once: for second derivatives"):
            torch.autograd.grad(loss, z, create_graph=True)[0].sum().backward()
        with pytest.raises(RuntimeError, match="no forward-mode derivatives"):
            torch.func.jvp(lambda z: encouraging_loss(z, target, reduction=reduction), (z,), (z,))


def test_logits_changed_between_forward_and_backward():
    z, target = case(4, 9)
    z.requires_grad_()
    (expected,) = torch.autograd.grad(encouraging_loss(z, target), z)
    with use("triton"):
        early, late = z * 1, z * 1
        loss = encouraging_loss(early, target)
        rows = encouraging_loss(late, target, reduction="none")
    early.detach().zero_()  # the gradient is there already
    late.detach().zero_()
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], expected)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        rows.sum().backward()
