"""Mirror MSE against its formula as printed."""

import re

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import MirrorMSELoss, mirror_mse_loss


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("shape", [(4,), (6, 4), (2, 4, 3)])
def test_equals_the_formula(activation, shape):
    z = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, shape[:1] + shape[2:] if len(shape) > 1 else ())
    class_dim = min(len(shape) - 1, 1)
    p = z.softmax(class_dim) if activation == "softmax" else z.sigmoid()
    y = F.one_hot(target, 4).movedim(-1, class_dim)
    printed = (y - p) ** 2 - (y * p) ** 2 - ((1 - y) * (1 - p)) ** 2
    for reduction, expected in {"none": printed, "mean": printed.mean(), "sum": printed.sum()}.items():
        actual = mirror_mse_loss(z, target, reduction, activation=activation)
        torch.testing.assert_close(actual, expected)
        upstream = torch.rand_like(expected)
        gradients = [torch.autograd.grad(x, z, upstream, retain_graph=True)[0] for x in (actual, expected)]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_derivatives_and_transforms(activation):
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 3, 1])

    def loss(z):
        return mirror_mse_loss(z, target, "none", activation=activation)

    assert torch.autograd.gradcheck(loss, z)
    assert torch.autograd.gradgradcheck(loss, z)
    mapped = torch.func.vmap(lambda z, t: mirror_mse_loss(z, t, "none", activation=activation))(z, target)
    torch.testing.assert_close(mapped, loss(z))


def test_under_compile(full_graph):
    z, target = torch.randn(3, 4), torch.tensor([0, 3, 1])
    torch.testing.assert_close(full_graph(mirror_mse_loss)(z, target), mirror_mse_loss(z, target))


def test_half_precision_empty_and_overflow():
    z = torch.randn(3, 4).half().requires_grad_()
    loss = mirror_mse_loss(z, torch.tensor([0, 3, 1]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert z.grad.dtype == torch.float16
    assert mirror_mse_loss(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).item() == 0
    for bad in (float("nan"), float("inf")):
        z = torch.tensor([[bad, 0.0]], requires_grad=True)
        loss = mirror_mse_loss(z, torch.tensor([0]))
        loss.backward()
        assert not loss.isfinite()
        assert not z.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "relu"}, "activation must be one of softmax, sigmoid, got 'relu'"),
        ({"target": torch.tensor([5])}, "target must be a class index from 0 to 2, got 5"),
        ({"target": torch.tensor([0.0])}, "target must be integer class indices"),
        ({"reduction": "all"}, "reduction must be one of none, mean, sum, got 'all'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mirror_mse_loss(**{"input": torch.zeros(1, 3), "target": torch.tensor([0]), **arguments})


def test_module_is_the_function():
    z, target = torch.randn(3, 4), torch.tensor([0, 3, 1])
    module = MirrorMSELoss("sum", activation="sigmoid")
    assert torch.equal(module(z, target), mirror_mse_loss(z, target, "sum", activation="sigmoid"))
    assert "sigmoid" in repr(module)
