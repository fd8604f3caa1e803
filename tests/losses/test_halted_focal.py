"""Halted focal loss against 50 digits, finite differences and the plain focal formula."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import SigmoidHaltedFocalLoss, sigmoid_halted_focal_loss
from el_plugins.losses.kernels import use
from tests.losses.oracle import halted_focal

pytestmark = pytest.mark.usefixtures("path")

HALTS = ("foreground", "both", "authors")


def focal(x, t, alpha, gamma):
    """Focal loss as its paper and fvcore write it."""
    p = x.sigmoid()
    p_t = p * t + (1 - p) * (1 - t)
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** gamma
    return loss * (alpha * t + (1 - alpha) * (1 - t)) if alpha >= 0 else loss


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_equals_fifty_digits(halt, dtype, tolerance):
    grid = itertools.product((-1.0, 0.25, 0.5), (0.0, 0.5, 1.0, 2.0), (0.3, 0.5, 0.9, 1.0))
    logits = (-200.0, -3.0, -0.1, 0.25, 2.5, 40.0, 200.0)
    for alpha, gamma, phi in grid:
        options = {"halt": halt, "halt_threshold": phi}
        for target in (0, 1):
            x = torch.tensor(logits, dtype=dtype)
            actual = sigmoid_halted_focal_loss(x, torch.full_like(x, target), alpha, gamma, **options)
            expected = [halted_focal(logit, target, alpha, gamma, halt, phi) for logit in x.tolist()]
            torch.testing.assert_close(
                actual.double(), torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("phi", [0.3, 0.5, 0.8])
def test_the_pieces_meet_at_the_boundary(halt, gamma, phi):
    boundary = torch.logit(torch.tensor(phi, dtype=torch.float64))
    for target, side in itertools.product((0.0, 1.0), (1, -1)):
        x = side * boundary + torch.tensor([-1e-7, 1e-7], dtype=torch.float64)
        t = torch.full_like(x, target)
        losses = sigmoid_halted_focal_loss(x, t, 0.25, gamma, halt=halt, halt_threshold=phi)
        assert abs(losses[0] - losses[1]).item() < 1e-6


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_threshold_one_halts_nothing(halt, gamma):
    x = 3 * torch.randn(50, dtype=torch.float64, requires_grad=True)
    t = torch.randint(2, (50,)).double()
    actual = sigmoid_halted_focal_loss(x, t, 0.25, gamma, halt=halt, halt_threshold=1.0)
    expected = focal(x, t, 0.25, gamma)
    torch.testing.assert_close(actual, expected)
    gradients = [torch.autograd.grad(loss.sum(), x, retain_graph=True)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)


def test_the_constant_is_the_papers_with_its_sign_corrected():
    # -(log p + b) at phi = 1/2, gamma = 1 must equal (1/2) log 2: b = (1/2) log 2.
    just_above = torch.tensor([1e-9], dtype=torch.float64)
    loss = sigmoid_halted_focal_loss(just_above, torch.ones(1), -1, 1.0)
    assert loss.item() == pytest.approx(0.5 * 0.6931471805599453)


def test_halted_foreground_has_the_slope_of_cross_entropy():
    x = torch.tensor([3.0, -3.0, 3.0, -3.0], requires_grad=True)
    t = torch.tensor([1.0, 1.0, 0.0, 0.0])
    sigmoid_halted_focal_loss(x, t, -1, 2.0, "sum").backward()
    y = x.detach().clone().requires_grad_()
    focal(y, t, -1, 2.0).sum().backward()
    assert x.grad[0].item() == pytest.approx(torch.sigmoid(torch.tensor(3.0)).item() - 1)
    torch.testing.assert_close(x.grad[1:], y.grad[1:])


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_gradients_are_finite_far_out(halt, gamma):
    x = torch.tensor([-200.0, 200.0, -200.0, 200.0, 0.0], requires_grad=True)
    t = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])
    loss = sigmoid_halted_focal_loss(x, t, 0.25, gamma, "sum", halt=halt)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_derivatives_by_finite_differences(formula, halt, gamma):
    x = torch.tensor([-2.0, -0.4, 0.3, 1.4, 4.0] * 2, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.0] * 5 + [1.0] * 5)

    def loss(x):
        return sigmoid_halted_focal_loss(x, t, 0.25, gamma, halt=halt, halt_threshold=0.6)

    assert torch.autograd.gradcheck(loss, x)
    assert torch.autograd.gradgradcheck(loss, x)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("halt", HALTS)
def test_class_indices_are_their_one_hot(reduction, halt):
    x = torch.randn(2, 5, 3)
    targets = torch.tensor([[0, 1, 2, 3, 3], [3, 2, 1, 0, 0]])  # 3 is background
    dense = F.one_hot(targets, 4)[..., :3].float()
    torch.testing.assert_close(
        sigmoid_halted_focal_loss(x, targets, reduction=reduction, halt=halt),
        sigmoid_halted_focal_loss(x, dense, reduction=reduction, halt=halt),
    )


def test_ignored_rows_are_exactly_zero():
    x = torch.randn(4, 3)
    x[1] = float("nan")
    x.requires_grad_()
    targets = torch.tensor([0, -1, 3, 2])
    valid = [0, 2, 3]
    loss = sigmoid_halted_focal_loss(x, targets, reduction="none")
    assert torch.equal(loss[1], torch.zeros(3))
    mean = sigmoid_halted_focal_loss(x, targets, reduction="mean")
    torch.testing.assert_close(mean, loss[valid].mean())
    mean.backward()
    assert torch.equal(x.grad[1], torch.zeros(3))
    nothing = sigmoid_halted_focal_loss(x, torch.full((4,), -1), reduction="mean")
    assert nothing.item() == 0
    for count in (0, 3):
        empty = sigmoid_halted_focal_loss(
            torch.zeros(0, count), torch.zeros(0, dtype=torch.long), reduction="mean"
        )
        assert empty.item() == 0


def test_half_precision_and_overflow():
    x = torch.tensor([[8.0, -8.0]], dtype=torch.float16, requires_grad=True)
    loss = sigmoid_halted_focal_loss(x, torch.tensor([0]), reduction="sum")
    loss.backward()
    assert loss.dtype == torch.float32
    assert x.grad.dtype == torch.float16
    for bad in (float("nan"), float("inf"), float("-inf")):
        x = torch.tensor([[bad, 0.0]], requires_grad=True)
        loss = sigmoid_halted_focal_loss(x, torch.tensor([0]), reduction="sum")
        loss.backward()
        assert not loss.isfinite()
        assert not x.grad[0, 0].isfinite()


def test_compile_and_vmap(formula, full_graph):
    x, targets = torch.randn(4, 3), torch.tensor([0, -1, 3, 2])
    expected = sigmoid_halted_focal_loss(x, targets)
    torch.testing.assert_close(full_graph(sigmoid_halted_focal_loss)(x, targets), expected)
    torch.testing.assert_close(torch.func.vmap(sigmoid_halted_focal_loss)(x, targets), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"halt": "all"}, "halt must be one of foreground, both, authors, got 'all'"),
        ({"halt_threshold": 0.0}, "halt_threshold must be a finite number > 0 and <= 1, got 0.0"),
        ({"alpha": 1.5}, "alpha must be a finite number <= 1, got 1.5"),
        ({"gamma": -1.0}, "gamma must be a finite number >= 0, got -1.0"),
        ({"reduction": "all"}, "reduction must be one of none, mean, sum, got 'all'"),
        ({"targets": torch.tensor([0, 4])}, "targets must be class indices below 3, 3 for background"),
        ({"targets": torch.zeros(2)}, "targets must be integer class indices of shape (2,) or from 0 to 1"),
        (
            {"targets": torch.zeros(2, dtype=torch.complex64)},
            "targets must be integer class indices of shape (2,)",
        ),
        ({"targets": torch.zeros(2, 4)}, "targets must have shape (2, 3), got (2, 4)"),
        ({"targets": torch.full((2, 3), 1.5)}, "targets must be in [0, 1], got 1.5"),
        ({"targets": torch.full((2, 3), float("nan"))}, "targets must be in [0, 1], got nan"),
        ({"targets": torch.full((2, 3), -1)}, "targets must be 0 or 1, got -1"),
        ({"inputs": torch.zeros(2, 3, dtype=torch.long)}, "inputs must be a floating-point tensor"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sigmoid_halted_focal_loss(
            **{"inputs": torch.zeros(2, 3), "targets": torch.tensor([0, 3]), **arguments}
        )


def test_module_is_the_function():
    x, targets = torch.randn(4, 3), torch.tensor([0, -1, 3, 2])
    options = {"halt": "authors", "halt_threshold": 0.6}
    module = SigmoidHaltedFocalLoss(0.5, 1.0, "sum", **options)
    assert torch.equal(module(x, targets), sigmoid_halted_focal_loss(x, targets, 0.5, 1.0, "sum", **options))
    assert "halt='authors'" in repr(module)


@pytest.mark.parametrize("path", ["formula", "chunks"])
def test_loss_scaling_comes_before_the_rounding(path):
    # Easy background's gradient is below fp16's normal numbers until it is scaled.
    x = torch.full((1, 2), -13.0, dtype=torch.float16, requires_grad=True)
    with use(path):
        loss = sigmoid_halted_focal_loss(x, torch.tensor([2]), -1, 0.0, reduction="sum")
    (loss * 2.0**16).backward()
    expected = 2.0**16 * torch.tensor(-13.0, dtype=torch.float64).sigmoid()
    torch.testing.assert_close(x.grad.double(), expected.expand(1, 2), rtol=2.0**-10, atol=0)
