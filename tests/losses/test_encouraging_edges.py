"""Encouraging loss at its edges: half precision, nothing to average, one class, large spreads, infinity."""

import functools

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import encouraging_loss, linear_encouraging_loss
from tests.losses.encouraging_cases import BONUS_OPTIONS, SMOOTHED, loss_and_gradient, oracle_options
from tests.losses.oracle import row

pytestmark = pytest.mark.usefixtures("path")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_and_rounded_once(dtype):
    torch.manual_seed(3)
    z = (5 * torch.randn(8, 20)).to(dtype).requires_grad_()
    wide = z.detach().float().requires_grad_()
    target = torch.randint(20, (8,))
    losses = [encouraging_loss(x, target, label_smoothing=0.1, log_end=1.0) for x in (z, wide)]
    assert losses[0].dtype == torch.float32
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    assert z.grad.dtype == dtype
    assert torch.equal(z.grad, wide.grad.to(dtype))


@pytest.mark.parametrize("bonus", ["none", "log"])
def test_an_infinite_weight_of_a_class_that_does_not_occur(bonus):
    # 1 / counts: ignored rows must not be counted as class 0.
    z, weight = torch.randn(3, 3, requires_grad=True), torch.tensor([float("inf"), 1.0, 2.0])
    target = torch.tensor([1, -100, 2])
    options = {"weight": weight, "bonus": bonus}
    linear = linear_encouraging_loss(torch.eye(3), z.T, target, **options)
    losses = [encouraging_loss(z, target, **options), linear]
    if bonus == "none":
        losses.append(F.cross_entropy(z, target, weight))
    for loss in losses:
        torch.testing.assert_close(loss, losses[-1])
        (gradient,) = torch.autograd.grad(loss, z)
        assert gradient.isfinite().all()
        assert gradient[1].eq(0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_to_average_gives_zero(reduction):
    empty = torch.zeros(0, 4, requires_grad=True)
    assert encouraging_loss(empty, torch.zeros(0, dtype=torch.long), reduction=reduction).item() == 0
    z = torch.full((3, 4), float("nan"), requires_grad=True)
    loss = encouraging_loss(z, torch.full((3,), -100), reduction=reduction, label_smoothing=0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(z.grad, torch.zeros(3, 4))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_sum_over_no_targets_divided_by_their_number_has_no_gradient(inplace):
    # As a trainer divides, with F.cross_entropy: the loss is NaN, the weights are left alone.
    gradients = []
    for function in (F.cross_entropy, functools.partial(encouraging_loss, inplace=inplace)):
        z = torch.ones(3, 4, requires_grad=True)
        total = function(2 * z, torch.full((3,), -100), reduction="sum")
        (total / torch.tensor(0)).backward()
        gradients.append(z.grad)
    assert torch.equal(gradients[0], torch.zeros(3, 4))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
@pytest.mark.parametrize("smoothing", SMOOTHED, ids=str)
def test_a_single_class_has_no_bonus_and_no_gradient(options, smoothing):
    loss, gradient = loss_and_gradient([3.5], 0, **options, **smoothing)
    assert loss.item() == 0
    assert gradient.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_finite_for_a_spread_of_ten_thousand(dtype, options, label_smoothing):
    for logits in ([1e4, 0.0, -3.0], [0.0, 1e4, 1e4], [-1e4, 0.0, 0.0], [5e3, -5e3]):
        for target in (0, 1):
            loss, gradient = loss_and_gradient(
                logits, target, dtype, label_smoothing=label_smoothing, **options
            )
            assert loss.isfinite()
            assert gradient.isfinite().all()


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("smoothing", SMOOTHED[1:], ids=str)
@pytest.mark.parametrize("options", [*BONUS_OPTIONS, {"weight": torch.ones(32)}, {"soft": True}], ids=str)
def test_logits_whose_sum_overflows(options, smoothing, target):
    options = dict(options)
    soft, weight = options.pop("soft", False), options.pop("weight", None)
    if soft and smoothing.get("smoothing") == "fairseq":
        pytest.skip("probabilities name no target")
    options = {"bonus_eps": 0.0, **options, **smoothing}
    z = torch.full((1, 32), -2e37)
    z[0, 0] = 0
    index = torch.tensor([target])
    leaf = z.requires_grad_()
    loss = encouraging_loss(leaf, F.one_hot(index, 32).float() if soft else index, weight, **options)
    (gradient,) = torch.autograd.grad(loss, leaf)
    expected, slopes = row(z[0].tolist(), target, **{"log_end": 0.75, **oracle_options(options)})
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    if "aggressive" not in options.values() and options.get("log_end") != 1:  # 50 digits hold no such 1-p
        torch.testing.assert_close(gradient[0], torch.tensor(slopes), rtol=1e-5, atol=1e-6)


def test_minus_infinity_excludes_a_class():
    masked, without = [0.5, -torch.inf, 1.0], [0.5, 1.0]
    for options in BONUS_OPTIONS:
        loss, gradient = loss_and_gradient(masked, 0, **options)
        expected_loss, expected_gradient = loss_and_gradient(without, 0, **options)
        torch.testing.assert_close(loss, expected_loss)
        torch.testing.assert_close(gradient[0, [0, 2]], expected_gradient[0])
        assert gradient[0, 1] == 0
        loss, gradient = loss_and_gradient([-torch.inf, 2.0, -torch.inf], 1, **options)  # the only class
        assert loss.item() == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
def test_overflow_stays_visible(bad, place, options):
    logits = [0.3, 0.1, -0.2]
    logits[place] = bad
    loss, gradient = loss_and_gradient(logits, 0, torch.float32, **options)
    assert not loss.isfinite()
    assert not gradient.isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_overflow_stays_visible_in_log_p(bad, place):
    z = torch.tensor([[0.3, 0.1, -0.2], [0.3, 0.1, -0.2]])
    z[0, place] = bad
    _, log_prob = encouraging_loss(z, torch.tensor([0, 0]), return_log_prob=True)
    assert log_prob.isfinite().tolist() == [False, True]


def test_overflow_in_one_row_leaves_the_others_finite():
    z = torch.tensor([[0.0, 1.0], [float("nan"), 1.0]], requires_grad=True)
    losses = encouraging_loss(z, torch.tensor([0, 0]), reduction="none")
    losses[0].backward()
    assert losses[0].isfinite()
    assert z.grad[0].isfinite().all()
