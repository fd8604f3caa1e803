"""The binary form's soft targets and weight of positives: the mixture of both labels, and torch's own."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import binary_encouraging_loss_with_logits, encouraging_loss
from tests.losses.encouraging_cases import oracle_options
from tests.losses.oracle import binary

OPTIONS = [
    {"bonus": "log", "log_end": 1.0},
    {"bonus": "log", "log_end": 1.0, "bonus_eps": 0.0},
    {"bonus": "log", "log_end": 0.75},
    {"bonus": "aggressive", "bonus_eps": 0.0},
    {"bonus": "power"},
    {"bonus": "cosine"},
    {"bonus": "none"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 5e-7)])
def test_equals_fifty_digits(options, dtype, tolerance):
    known = oracle_options(options)
    pos_weight = torch.tensor(2.5, dtype=dtype)
    for logit in (-1e4, -69.0, -2.5, 0.0, 0.25, 69.0, 1e4):
        yes, no = binary(logit, 1, **known), binary(logit, 0, **known)
        for t in (0.0, 0.125, 0.5, 1.0):
            x, target = torch.tensor(logit, dtype=dtype), torch.tensor(t, dtype=dtype)
            loss = binary_encouraging_loss_with_logits(x, target, pos_weight=pos_weight, **options)
            expected = 2.5 * t * yes + (1 - t) * no
            scale = max(1, abs(2.5 * t * yes), abs((1 - t) * no))
            assert abs(loss.item() - expected) <= tolerance * scale, (logit, t)


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("log_end", [0.5, 0.75, 1.0])
def test_is_the_loss_of_class_probabilities(eps, log_end):
    x, t = 4 * torch.randn(50, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    x[:2] = torch.tensor([20.0, -20.0])  # beyond the bound
    two, probabilities = torch.stack([torch.zeros_like(x), x], dim=1), torch.stack([1 - t, t], dim=1)
    options = {"log_end": log_end, "bonus_eps": eps, "reduction": "none"}
    torch.testing.assert_close(
        binary_encouraging_loss_with_logits(x, t, **options), encouraging_loss(two, probabilities, **options)
    )


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_without_bonus_it_is_binary_cross_entropy(reduction):
    x, t = torch.randn(2, 4, 3, dtype=torch.float64)[0].requires_grad_(), torch.rand(4, 3).double()
    pos_weight, weight = torch.tensor([0.5, 3.0, 1.0]).double(), torch.rand(4, 1).double()
    losses = (
        binary_encouraging_loss_with_logits(x, t, weight, reduction, pos_weight=pos_weight, bonus="none"),
        F.binary_cross_entropy_with_logits(x, t, weight, reduction=reduction, pos_weight=pos_weight),
    )
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), x) for loss in losses))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_derivatives_by_finite_differences(options):
    x = torch.tensor([-2.0, 0.3, 1.4, 4.0], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.25, 0.5, 0.75, 0.1], dtype=torch.float64, requires_grad=True)
    pos_weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def loss(x, t, pos_weight):
        return binary_encouraging_loss_with_logits(x, t, reduction="none", pos_weight=pos_weight, **options)

    assert torch.autograd.gradcheck(loss, (x, t, pos_weight))
    assert torch.autograd.gradgradcheck(loss, (x, t, pos_weight))


def test_floating_zeros_and_ones_are_labels():
    x, t = torch.linspace(-80, 80, 41), torch.arange(41) % 2
    losses = [
        binary_encouraging_loss_with_logits(x, kind, reduction="none") for kind in (t.float(), t, t > 0)
    ]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])


def test_an_impossible_label_may_overflow():
    x = torch.tensor([1e38, -1e38], requires_grad=True)
    options = {"log_end": 1.0, "bonus_eps": 0.0, "bonus_weight": 10.0}
    loss = binary_encouraging_loss_with_logits(x, torch.tensor([0, 1]), reduction="none", **options)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([1e38, 1e38]))
    torch.testing.assert_close(x.grad, torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_invalid_targets_are_nan_where_they_are_not_read(options, full_graph):
    broken = [True, False, True, True, False]

    def compiled(x, t):
        return full_graph(binary_encouraging_loss_with_logits)(x, t, reduction="none", **options)

    def mapped(x, t):  # under vmap no value can be read
        return torch.func.vmap(lambda x, t: binary_encouraging_loss_with_logits(x, t, **options))(x, t)

    for target in (torch.tensor([-0.5, 0.5, 1.5, float("nan"), 1.0]), torch.tensor([-1, 0, 2, 77, 1])):
        for loss in (compiled, mapped) if options["bonus"] == "log" else (mapped,):
            x = torch.randn(5, requires_grad=True)
            losses = loss(x, target)
            losses.sum().backward()
            assert losses.isnan().tolist() == x.grad.isnan().tolist() == broken
