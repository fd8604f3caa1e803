"""The binary form against 50 digits and F.binary_cross_entropy_with_logits."""

import re

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import BinaryEncouragingLossWithLogits, binary_encouraging_loss_with_logits
from tests.losses.encouraging_cases import oracle_options
from tests.losses.oracle import binary

OPTIONS = [
    {"bonus": "log", "log_end": 1.0},
    {"bonus": "log", "log_end": 1.0, "bonus_eps": 0.0},
    {"bonus": "log", "log_end": 0.75},
    {"bonus": "aggressive"},
    {"bonus": "aggressive", "bonus_eps": 0.0},
    {"bonus": "power"},
    {"bonus": "cosine"},
    {"bonus": "none"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 5e-7)])
def test_equals_fifty_digits(options, dtype, tolerance):
    for logit in (-1e4, -69.0, -2.5, 0.0, 0.25, 9.0, 11.51, 11.52, 69.0, 1e4):
        for target in (0, 1):
            loss = binary_encouraging_loss_with_logits(
                torch.tensor(logit, dtype=dtype), torch.tensor(target), **options
            )
            expected = binary(logit, target, **oracle_options(options))
            assert abs(loss.item() - expected) <= tolerance * max(1, abs(expected)), (logit, target)


def test_is_the_two_class_softmax_loss():
    from el_plugins.losses import encouraging_loss

    x, target = torch.randn(20, dtype=torch.float64), torch.randint(2, (20,))
    two = torch.stack([torch.zeros_like(x), x], dim=1)
    torch.testing.assert_close(binary_encouraging_loss_with_logits(x, target), encouraging_loss(two, target))


def test_without_bonus_it_is_binary_cross_entropy():
    x, target, weight = torch.randn(4, 3), torch.randint(2, (4, 3)).float(), torch.rand(3)
    for reduction in ("none", "mean", "sum"):
        torch.testing.assert_close(
            binary_encouraging_loss_with_logits(x, target, weight, reduction, bonus="none"),
            F.binary_cross_entropy_with_logits(x, target, weight, reduction=reduction),
        )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_derivatives_by_finite_differences(options):
    x = torch.tensor([-2.0, 0.3, 1.4, 4.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 0, 1])

    def loss(x):
        return binary_encouraging_loss_with_logits(x, target, reduction="none", **options)

    assert torch.autograd.gradcheck(loss, x)
    assert torch.autograd.gradgradcheck(loss, x)


def test_normal_bonus_keeps_its_slope():
    x = torch.tensor([60.0, -60.0, 0.0], requires_grad=True)
    loss = binary_encouraging_loss_with_logits(
        x, torch.tensor([1, 0, 1]), reduction="sum", log_end=1.0, bonus_eps=0.0
    )
    loss.backward()
    torch.testing.assert_close(x.grad, torch.tensor([-1.0, 1.0, -1.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x = torch.tensor([9.0, -3.0], dtype=dtype, requires_grad=True)
    loss = binary_encouraging_loss_with_logits(x, torch.tensor([1, 1]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert x.grad.dtype == dtype
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_overflow_stays_visible(bad):
    x = torch.tensor([bad, 0.0], requires_grad=True)
    loss = binary_encouraging_loss_with_logits(x, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert not loss.isfinite()
    assert not x.grad[0].isfinite()


def test_empty_mean_is_zero():
    assert binary_encouraging_loss_with_logits(torch.zeros(0), torch.zeros(0)).item() == 0


def test_compile_and_vmap(full_graph):
    x, target = torch.randn(6), torch.randint(2, (6,))
    expected = binary_encouraging_loss_with_logits(x, target, reduction="none")
    compiled = full_graph(binary_encouraging_loss_with_logits)(x, target, reduction="none")
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(torch.func.vmap(binary_encouraging_loss_with_logits)(x, target), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": torch.tensor([1.5, 1.0])}, "target must be in [0, 1], got 1.5"),
        ({"target": torch.tensor([2, 1])}, "target must be 0 or 1, got 2"),
        ({"pos_weight": torch.ones(3)}, "pos_weight must broadcast to input's shape (2,), got shape (3,)"),
        ({"weight": torch.ones(2, 2)}, "weight must broadcast to input's shape (2,), got shape (2, 2)"),
        ({"target": torch.ones(3)}, "target must have shape (2,), got (3,)"),
        ({"input": torch.zeros(2, dtype=torch.int)}, "input must be a floating-point tensor"),
        ({"reduction": "max"}, "reduction must be one of none, mean, sum, got 'max'"),
        ({"log_end": 3}, "log_end must be a finite number >= 0 and <= 1, got 3"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        binary_encouraging_loss_with_logits(**{"input": torch.zeros(2), "target": torch.ones(2), **arguments})


def test_module_is_the_function():
    x, target = torch.randn(5), torch.randint(2, (5,))
    options = {"pos_weight": torch.rand(5), "bonus": "cosine"}
    module = BinaryEncouragingLossWithLogits(torch.tensor(2.0), "sum", **options)
    expected = binary_encouraging_loss_with_logits(x, target, torch.tensor(2.0), "sum", **options)
    assert torch.equal(module(x, target), expected)
    assert "weight=tensor of shape (), reduction='sum', pos_weight=tensor of shape (5,)" in repr(module)
    assert "bonus='cosine'" in repr(module)
    assert sorted(module.state_dict()) == ["pos_weight", "weight"]
