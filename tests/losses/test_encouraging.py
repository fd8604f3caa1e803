"""Encouraging loss against 50 digits, float64 autograd, finite differences and F.cross_entropy."""

import re

import pytest
import torch
import torch.nn.functional as F
from oracle import row

from el_plugins.losses import EncouragingLoss, encouraging_loss

pytestmark = pytest.mark.usefixtures("path")

BONUS_OPTIONS = [
    {"bonus": "log", "log_end": 1.0},
    {"bonus": "log", "log_end": 0.75},
    {"bonus": "log", "log_end": 0.0},
    {"bonus": "aggressive"},
    {"bonus": "aggressive", "bonus_start": 0.2},
    {"bonus": "power"},
    {"bonus": "power", "bonus_exponent": 0.5},
    {"bonus": "power", "bonus_start": 0.3, "bonus_exponent": 3.0},
    {"bonus": "cosine"},
    {"bonus": "none"},
]
SMOOTHED = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.1, "smoothing": "fairseq"},
]
HARD_LOGITS = [
    [60.0, 0.0, 0.0],
    [-69.0, 0.0, 0.0, 1.0],  # p of the target about 1e-30
    [69.0776, 0.0, 0.5],  # about 1 - 1e-30
    [9.21, 0.0],  # about 0.9999
    [0.01, 0.0],  # about 1/2
    [0.0, 0.0],
    [1000.3, 1000.0, 999.9, 990.0],  # a large common shift
    [0.3, -1.2, 2.0, 0.1, -40.0],
]


def oracle_options(options):
    names = {"bonus_start": "start", "bonus_exponent": "exponent"}
    return {names.get(name, name): value for name, value in options.items()}


def loss_and_gradient(logits, target, dtype=torch.float64, **options):
    z = torch.tensor([logits], dtype=dtype, requires_grad=True)
    loss = encouraging_loss(z, torch.tensor([target]), **options)
    (gradient,) = torch.autograd.grad(loss, z)
    return loss, gradient


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


def test_gradient_at_the_target_is_minus_one_however_certain():
    for margin in (0.0, 1.0, 12.0, 20.0, 60.0, 1e4):
        loss, gradient = loss_and_gradient([margin, 0.0, 0.0], 0, torch.float32, log_end=1.0)
        assert abs(gradient[0, 0].item() + 1) <= 1e-6
        torch.testing.assert_close(gradient[0, 1:], torch.tensor([0.5, 0.5]))
        assert loss.item() == pytest.approx(-margin + torch.tensor(2.0).log().item(), rel=1e-7, abs=1e-5)


@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
def test_equals_float64_autograd_of_the_naive_formula(options):
    torch.manual_seed(0)
    z = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    target = torch.randint(9, (6,))
    p = z.softmax(1)
    naive = {
        "log": lambda p: torch.where(
            p <= options.get("log_end", 1),
            (1 - p).log(),
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
    upstream = torch.rand(6, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(actual, z, upstream)[0], torch.autograd.grad(expected, z, upstream)[0]
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
    upstream = torch.rand_like(expected)
    gradients = [torch.autograd.grad(loss, z, upstream)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)
    same = encouraging_loss(z, *arguments, bonus_weight=0.0, **options)
    torch.testing.assert_close(same, actual)


def test_layouts_agree_with_plain_rows():
    z = torch.randn(2, 5, 3, 4)
    target = torch.randint(5, (2, 3, 4))
    flat = encouraging_loss(z.permute(0, 2, 3, 1).reshape(-1, 5), target.reshape(-1), reduction="none")
    torch.testing.assert_close(encouraging_loss(z, target, reduction="none"), flat.view(2, 3, 4))
    one = encouraging_loss(z[0, :, 0, 0], target[0, 0, 0], reduction="none")
    torch.testing.assert_close(one, flat[0])


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


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_non_contiguous_input(label_smoothing):
    base = torch.randn(10, 6)
    target = torch.randint(5, (3,))
    view = base[::2, 1:][:3].requires_grad_()
    loss = encouraging_loss(view, target, label_smoothing=label_smoothing)
    torch.testing.assert_close(
        loss, encouraging_loss(view.detach().contiguous(), target, label_smoothing=label_smoothing)
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_to_average_gives_zero(reduction):
    empty = torch.zeros(0, 4, requires_grad=True)
    assert encouraging_loss(empty, torch.zeros(0, dtype=torch.long), reduction=reduction).item() == 0
    z = torch.full((3, 4), float("nan"), requires_grad=True)
    loss = encouraging_loss(z, torch.full((3,), -100), reduction=reduction, label_smoothing=0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(z.grad, torch.zeros(3, 4))


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


def test_minus_infinity_excludes_a_class():
    masked, without = [0.5, -torch.inf, 1.0], [0.5, 1.0]
    for options in BONUS_OPTIONS:
        loss, gradient = loss_and_gradient(masked, 0, **options)
        expected_loss, expected_gradient = loss_and_gradient(without, 0, **options)
        torch.testing.assert_close(loss, expected_loss)
        torch.testing.assert_close(gradient[0, [0, 2]], expected_gradient[0])
        assert gradient[0, 1] == 0
        alone, gradient = loss_and_gradient([-torch.inf, 2.0, -torch.inf], 1, **options)
        assert alone.item() == 0
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


def test_overflow_in_one_row_leaves_the_others_alone():
    z = torch.tensor([[0.0, 1.0], [float("nan"), 1.0]], requires_grad=True)
    losses = encouraging_loss(z, torch.tensor([0, 0]), reduction="none")
    losses[0].backward()
    assert losses[0].isfinite()
    assert z.grad[0].isfinite().all()


def test_under_compile_as_one_graph(full_graph):
    z = torch.randn(6, 10, requires_grad=True)
    target = torch.tensor([0, 3, -100, 9, 1, 2])
    options = {"label_smoothing": 0.1, "log_end": 1.0}
    compiled = full_graph(encouraging_loss)(z, target, **options)
    eager = encouraging_loss(z, target, **options)
    torch.testing.assert_close(compiled, eager)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (compiled, eager)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_under_vmap(formula, label_smoothing):
    z, target = torch.randn(4, 3, 5), torch.randint(5, (4, 3))
    mapped = torch.func.vmap(lambda z, t: encouraging_loss(z, t, label_smoothing=label_smoothing))(z, target)
    one_by_one = [encouraging_loss(*pair, label_smoothing=label_smoothing) for pair in zip(z, target)]
    torch.testing.assert_close(mapped, torch.stack(one_by_one))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "average"}, "reduction must be one of none, mean, sum, got 'average'"),
        ({"label_smoothing": 1.5}, "label_smoothing must be a finite number >= 0 and <= 1, got 1.5"),
        ({"smoothing": "torch"}, "smoothing must be one of uniform, fairseq, got 'torch'"),
        ({"bonus": "sine"}, "bonus must be one of log, aggressive, power, cosine, none, got 'sine'"),
        ({"log_end": -0.1}, "log_end must be a finite number >= 0 and <= 1, got -0.1"),
        ({"log_end": float("nan")}, "log_end must be a finite number >= 0 and <= 1, got nan"),
        ({"bonus_weight": -1}, "bonus_weight must be a finite number >= 0, got -1"),
        ({"bonus": "power", "bonus_exponent": 0}, "bonus_exponent must be a finite number > 0, got 0"),
        ({"bonus": "power", "bonus_start": 1.0}, "bonus_start must be a finite number >= 0 and < 1, got 1.0"),
        ({"bonus_start": 0.5}, "bonus_start=0.5 means nothing for bonus='log'"),
        ({"weight": torch.ones(3)}, "weight must have one element for each of the 4 classes, got shape"),
        ({"weight": torch.ones(4, dtype=torch.long)}, "weight must be a floating-point tensor"),
        ({"target": torch.zeros(2).bool()}, "target must be integer class indices, got dtype torch.bool"),
        ({"target": torch.zeros(2)}, "target of class probabilities must have shape (2, 4) for input of"),
        ({"target": torch.zeros(2, 4), "ignore_index": 0}, "ignore_index must be negative for class prob"),
        (
            {"target": torch.zeros(2, 4), "label_smoothing": 0.1, "smoothing": "fairseq"},
            "smoothing='fairseq' spreads label_smoothing over all classes but the target",
        ),
        ({"target": torch.zeros(3, dtype=torch.long)}, "target must have shape"),
        ({"target": torch.tensor([0, 4])}, "target must be a class index from 0 to 3 or ignore_index"),
        ({"target": torch.tensor([0, -1])}, "got -1"),
        ({"input": torch.zeros(2, 4, dtype=torch.long)}, "input must be a floating-point tensor"),
        ({"input": torch.zeros(2, 0)}, "input must have at least one class"),
    ],
)
def test_errors_name_the_argument_its_value_and_what_is_allowed(arguments, message):
    defaults = {"input": torch.zeros(2, 4), "target": torch.zeros(2, dtype=torch.long)}
    with pytest.raises(ValueError, match=re.escape(message)):
        encouraging_loss(**{**defaults, **arguments})


def test_module_is_the_function():
    weight = torch.rand(4)
    options = {"bonus": "power", "bonus_exponent": 3.0, "bonus_start": 0.1, "smoothing": "fairseq"}
    module = EncouragingLoss(weight, 1, "sum", 0.1, **options)
    z, target = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    expected = encouraging_loss(z, target, weight, 1, "sum", 0.1, **options)
    assert torch.equal(module(z, target), expected)
    assert torch.equal(module.state_dict()["weight"], weight)
    assert "bonus='power'" in repr(module)
    with pytest.raises(ValueError, match="log_end"):
        EncouragingLoss(log_end=2)
