"""Encouraging loss against 50 digits, float64 autograd, finite differences and F.cross_entropy."""

import math

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import encouraging_loss
from tests.losses.encouraging_cases import (
    BONUS_OPTIONS,
    HARD_LOGITS,
    SMOOTHED,
    loss_and_gradient,
    oracle_options,
)
from tests.losses.oracle import row

pytestmark = pytest.mark.usefixtures("path")


@pytest.mark.parametrize("smoothing", SMOOTHED, ids=str)
@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 5e-7)])
def test_equals_fifty_digits_on_hard_cases(options, smoothing, dtype, tolerance):
    for logits in HARD_LOGITS:
        exact = torch.tensor(logits, dtype=dtype).tolist()  # what the dtype holds
        for target in (0, len(logits) - 1):
            loss, gradient = loss_and_gradient(exact, target, dtype, **options, **smoothing)
            want_loss, want_gradient = row(exact, target, **oracle_options(options), **smoothing)
            scale = max(1.0, abs(want_loss))
            assert abs(loss.item() - want_loss) <= tolerance * scale, (logits, target)
            error = (gradient[0].double() - torch.tensor(want_gradient, dtype=torch.float64)).abs().max()
            assert error <= 4 * tolerance, (logits, target)


def test_without_the_bound_the_gradient_at_the_target_is_minus_one_however_certain():
    for margin in (0.0, 1.0, 12.0, 20.0, 60.0, 1e4):
        loss, gradient = loss_and_gradient([margin, 0.0, 0.0], 0, torch.float32, log_end=1.0, bonus_eps=0.0)
        assert abs(gradient[0, 0].item() + 1) <= 1e-6
        torch.testing.assert_close(gradient[0, 1:], torch.tensor([0.5, 0.5]))
        assert loss.item() == pytest.approx(-margin + torch.tensor(2.0).log().item(), rel=1e-7, abs=1e-5)


@pytest.mark.parametrize("log_end", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("margin", [-3.0, 0.0, 2.0, 11.0, 11.51, 11.52, 12.0, 30.0, 69.0])
def test_by_default_it_is_the_released_formula(log_end, margin):
    """The authors' ``clamp(1-p, min=1e-5)``, in float64, with 1-p from the other classes."""
    z = torch.tensor([[margin, 0.0, 0.5, -1.0]], dtype=torch.float64, requires_grad=True)
    log_p = z.log_softmax(1)[0, 0]
    one_minus_p = (z[0, 1:].logsumexp(0) - z[0].logsumexp(0)).exp()
    bonus = one_minus_p.clamp(min=1e-5).log()
    if log_end != 1 and log_p.exp() > log_end:
        bonus = 1 / (log_end - 1) * (log_p.exp() - log_end) + math.log(1 - log_end)
    expected = bonus - log_p
    loss, gradient = loss_and_gradient(z[0].tolist(), 0, log_end=log_end)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, z)[0])


@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
def test_equals_float64_autograd_of_the_naive_formula(options):
    torch.manual_seed(0)
    z = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    target = torch.randint(9, (6,))
    p = z.softmax(1)
    naive = {
        "log": lambda p: torch.where(
            p <= options.get("log_end", 1),
            (1 - p).clamp(min=options.get("bonus_eps", 1e-5)).log(),
            torch.log(torch.tensor(max(1 - options.get("log_end", 1), 1e-300)))
            - (p - options.get("log_end", 1)) / max(1 - options.get("log_end", 1), 1e-300),
        ),
        "aggressive": lambda p: torch.where(
            p > options.get("bonus_start", 0.5),
            ((1 - p) / (1 - options.get("bonus_start", 0.5))).log(),
            0 * p,
        ),
        "power": lambda p: torch.where(
            p > options.get("bonus_start", 0),
            options.get("bonus_start", 0) ** options.get("bonus_exponent", 2.0)
            - p ** options.get("bonus_exponent", 2.0),
            0 * p,
        ),
        "cosine": lambda p: (torch.pi * p).cos() - 1,
        "none": lambda p: 0 * p,
    }[options["bonus"]]
    q = F.one_hot(target, 9) * 0.9 + 0.1 / 9
    expected = (q * (-p.log() + naive(p))).sum(1)
    actual = encouraging_loss(z, target, label_smoothing=0.1, reduction="none", **options)
    torch.testing.assert_close(actual, expected)
    grad_output = torch.rand(6, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(actual, z, grad_output)[0], torch.autograd.grad(expected, z, grad_output)[0]
    )


@pytest.mark.parametrize("smoothing", SMOOTHED, ids=str)
@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
def test_first_and_second_derivatives_by_finite_differences(formula, options, smoothing):
    torch.manual_seed(1)
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, 1])

    def loss(z):
        return encouraging_loss(z, target, reduction="none", **options, **smoothing)

    assert torch.autograd.gradcheck(loss, z)
    assert torch.autograd.gradgradcheck(loss, z)


@pytest.mark.parametrize("shape", [(5,), (7, 5), (3, 5, 2), (2, 5, 3, 4)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_bonus_it_is_cross_entropy(shape, reduction, label_smoothing, weighted):
    torch.manual_seed(2)
    z = torch.randn(shape, requires_grad=True)
    target = torch.randint(5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if target.dim():
        target.view(-1)[0] = -100
    weight = torch.rand(5) if weighted else None
    arguments = (target, weight)
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    actual = encouraging_loss(z, *arguments, bonus="none", **options)
    expected = F.cross_entropy(z, *arguments, **options)
    torch.testing.assert_close(actual, expected)
    grad_output = torch.rand_like(expected)
    gradients = [torch.autograd.grad(loss, z, grad_output)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)
    same = encouraging_loss(z, *arguments, bonus_weight=0.0, **options)
    torch.testing.assert_close(same, actual)


def test_class_weights_multiply_each_class_term():
    z, target = [0.5, -1.0, 2.0], 1
    weight = torch.tensor([0.2, 3.0, 0.7], dtype=torch.float64)
    with_weight = encouraging_loss(
        torch.tensor([z], dtype=torch.float64), torch.tensor([target]), weight, reduction="sum"
    )
    assert with_weight.item() == pytest.approx(3.0 * row(z, target, log_end=0.75)[0])


@pytest.mark.parametrize("log_end", [0.2, 0.5, 0.75, 0.99])
def test_value_and_slope_continue_at_log_end(log_end):
    step = 1e-6
    logit = torch.logit(torch.tensor([log_end], dtype=torch.float64)).item()
    below = loss_and_gradient([logit - step, 0.0], 0, log_end=log_end)
    above = loss_and_gradient([logit + step, 0.0], 0, log_end=log_end)
    assert below[0].item() == pytest.approx(above[0].item(), abs=5 * step)
    assert below[1][0, 0].item() == pytest.approx(above[1][0, 0].item(), abs=5 * step)
    inside = loss_and_gradient([logit - step, 0.0], 0, log_end=1.0)
    assert below[0].item() == pytest.approx(inside[0].item(), abs=1e-12)
