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
        grad_output = torch.rand_like(expected)
        gradients = [torch.autograd.grad(x, z, grad_output, retain_graph=True)[0] for x in (actual, expected)]
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
        (
            {"target": torch.tensor([5])},
            "target must be a class index from 0 to 2 or ignore_index=-100, got 5",
        ),
        ({"target": torch.tensor([0.0])}, "target must be integer class indices"),
        ({"target": torch.tensor([-1])}, "from 0 to 2 or ignore_index=-100, got -1"),
        ({"ignore_index": None}, "ignore_index must be an integer, got None"),
        ({"weight": torch.ones(2)}, "weight must have one element for each of the 3 classes"),
        ({"reduction": "all"}, "reduction must be one of none, mean, sum, got 'all'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mirror_mse_loss(**{"input": torch.zeros(1, 3), "target": torch.tensor([0]), **arguments})


def test_module_is_the_function():
    z, target = torch.randn(3, 4), torch.tensor([0, 3, 1])
    options = {"activation": "sigmoid", "ignore_index": 3, "weight": torch.rand(4)}
    module = MirrorMSELoss("sum", **options)
    assert torch.equal(module(z, target), mirror_mse_loss(z, target, "sum", **options))
    assert repr(module) == (
        "MirrorMSELoss(reduction='sum', activation='sigmoid', ignore_index=3, weight=tensor of shape (4,))"
    )
    assert "weight" in module.state_dict()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 3.0, 0.0])])
def test_ignored_rows_and_weights_as_torch_averages_them(activation, ignore_index, weight):
    z = torch.randn(2, 4, 3, dtype=torch.float64)
    target = torch.tensor([[0, ignore_index, 1], [3, 0, ignore_index]])
    valid = target != ignore_index
    z.movedim(1, -1)[~valid] = float("nan")
    z.requires_grad_()
    options = {"activation": activation, "ignore_index": ignore_index, "weight": weight}
    losses = mirror_mse_loss(z, target, "none", **options).movedim(1, -1)
    assert torch.equal(losses[~valid], torch.zeros(2, 4, dtype=torch.float64))

    factor = torch.ones(4) if weight is None else weight
    rows = mirror_mse_loss(z.movedim(1, -1)[valid], target[valid], "none", activation=activation)
    rows = rows * factor.double()[target[valid]].unsqueeze(1)
    torch.testing.assert_close(losses[valid], rows)
    mean = mirror_mse_loss(z, target, "mean", **options)
    # A softmax's rows of 1/4, whose cross-entropy is log 4 each: torch's mean shows what it divides by.
    even = F.cross_entropy(torch.zeros(4, 4), target[valid], factor, reduction="sum")
    even = even / torch.tensor(4.0).log()
    torch.testing.assert_close(mean, rows.sum() / (4 * even.double()), rtol=1e-6, atol=1e-7)
    (gradient,) = torch.autograd.grad(mean, z)
    assert torch.equal(gradient.movedim(1, -1)[~valid], torch.zeros(2, 4, dtype=torch.float64))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_an_infinite_weight_of_a_class_that_does_not_occur(reduction):
    weight = torch.tensor([torch.inf, 1.0, 2.0])
    losses = mirror_mse_loss(torch.randn(2, 3), torch.tensor([1, -100]), reduction, weight=weight)
    assert losses.isfinite().all()


def test_nothing_left_is_zero():
    z, target = torch.randn(3, 4, requires_grad=True), torch.full((3,), -100)
    assert mirror_mse_loss(z, target).item() == 0
    assert mirror_mse_loss(z, target, weight=torch.ones(4)).item() == 0
    assert mirror_mse_loss(z, torch.zeros(3, dtype=torch.long), weight=torch.zeros(4)).item() == 0


@pytest.mark.parametrize("weight", [None, torch.ones(4)])
def test_invalid_targets_are_nan_where_they_are_not_read(weight, full_graph):
    target, broken = torch.tensor([0, 77, -1, -100, 4]), [False, True, True, False, True]

    def rows(z):
        return mirror_mse_loss(z, target, "none", weight=weight)

    def mapped(z):  # under vmap no value can be read
        return torch.func.vmap(lambda z, t: mirror_mse_loss(z, t, "none", weight=weight))(z, target)

    for loss in (full_graph(rows), mapped):
        z = torch.randn(5, 4, requires_grad=True)
        losses = loss(z)
        losses.sum().backward()
        for values in (losses, z.grad):
            assert values.isnan().all(dim=1).tolist() == values.isnan().any(dim=1).tolist() == broken


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_targets_of_any_integer_dtype(dtype):
    z, target = torch.randn(4, 200), torch.tensor([0, 120, 5, 1])
    torch.testing.assert_close(mirror_mse_loss(z, target.to(dtype)), mirror_mse_loss(z, target))
    wrapped = torch.tensor([156, 0, 0, 0])  # -100 as uint8 has it
    if dtype == torch.uint8:
        torch.testing.assert_close(mirror_mse_loss(z, wrapped.to(dtype)), mirror_mse_loss(z, wrapped))
