"""The Triton kernels against the formula, run by test_triton.py in Triton's interpreter or on a GPU."""

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import kernel_options
from el_plugins.losses.kernels import soft_target_function, softmax_launch_triton, softmax_rows, use
from el_plugins.losses.options import RowOptions
from tests.losses.kernels.comparisons import assert_no_worse, results
from tests.marks import long

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OPTIONS = [
    {"log_end": 1.0, "bonus_eps": 0.0},
    {"log_end": 0.5},
    {"bonus": "cosine"},
    {"bonus": "none", "label_smoothing": 0.1},
    {"log_end": 1.0, "label_smoothing": 0.1},
    {"log_end": 0.5, "label_smoothing": 0.1, "smoothing": "fairseq"},
    {"log_end": 0.5, "label_smoothing": 1.0},
    {"log_end": 1.0},
    {"log_end": 1.0, "bonus_eps": 0.3, "label_smoothing": 0.1},
]
# Beside the top class these need every class' own logarithm or power.
GENERAL = [
    {"bonus": "cosine", "label_smoothing": 0.1},
    {"bonus": "power", "bonus_exponent": 0.5, "label_smoothing": 0.1},
    {"bonus": "aggressive", "bonus_start": 0.2, "label_smoothing": 0.1},
    {"log_end": 0.2, "label_smoothing": 0.1},
]


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch):
    """Raise what fails in a kernel, which would otherwise be computed by plain operations."""
    for module in (softmax_rows, soft_target_function):
        monkeypatch.setattr(module, "with_fallback", lambda fast, slow: fast)


def case(count, classes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(classes)
    z = (4 * torch.randn(count, classes, generator=generator)).to(DEVICE, dtype)
    target = torch.randint(classes, (count,), generator=generator).to(DEVICE)
    return z, target


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("classes", [1, 3, 423, *long(2, 4096)])
def test_equals_the_formula(options, classes):
    z, target = case(7, classes)
    z[0, target[0]] = 60.0  # p indistinguishable from 1
    z[1, target[1]] = -60.0
    target[-1] = -100
    z[-1] = float("nan")
    assert_no_worse(z[:-1], target[:-1], "triton", **options)
    loss, gradient = results(z, target, "triton", **options)
    assert loss[-1] == 0
    assert torch.equal(gradient[-1], torch.zeros_like(gradient[-1]))


@pytest.mark.parametrize("options", OPTIONS[1:5:3], ids=str)
@pytest.mark.parametrize("classes", [16240, *long(32000, 131071)])
def test_large_vocabularies(options, classes):
    test_equals_the_formula(options, classes)


@pytest.mark.parametrize("options", OPTIONS[:6:3], ids=str)
def test_grad_output_layout_and_ties(options):
    z, target = case(12, 40)
    z[3] = 1.0
    z[4, ::2] = -torch.inf
    target[4] = 1
    grad_output = torch.randn(6).to(DEVICE)
    options = {**options, "label_smoothing": 0.0} if options.get("label_smoothing") else options
    for rows in (z[::2], z[:6], z.t().contiguous().t()[:6]):
        exact = results(rows.double(), target[:6] | 1, grad_output=grad_output, **options)
        actual = results(rows, target[:6] | 1, "triton", grad_output, **options)
        torch.testing.assert_close(actual, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("options", OPTIONS[1:6:4], ids=str)
def test_non_finite_logits_give_non_finite_results(value, options):
    z, target = case(3, 50)
    z[1, 7] = value
    loss, gradient = results(z, target, "triton", **options)
    assert not loss[1].isfinite()
    assert not gradient[1].isfinite().any()
    assert loss[[0, 2]].isfinite().all()
    assert gradient[[0, 2]].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_dtypes(dtype):
    z, target = case(6, 100, dtype)
    exact = results(z.double(), target, log_end=0.5)
    actual = results(z, target, "triton", log_end=0.5)
    torch.testing.assert_close(actual[0], exact[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual[1], exact[1], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", GENERAL, ids=str)
@pytest.mark.parametrize("classes", [19, 423, *long(2, 70)])
@pytest.mark.parametrize("is_long", [False, True])
def test_any_bonus_and_class_weights(options, classes, weighted, is_long, monkeypatch):
    if is_long:  # more than once through the loops
        monkeypatch.setattr(softmax_launch_triton, "IN_REGISTERS", 0)
        monkeypatch.setattr(
            softmax_launch_triton, "tile_of", lambda *_: softmax_launch_triton.Tile(1, 1, 128, 4)
        )
    z, target = case(6, classes)
    z[1, target[1]] = 1000.0
    weight = torch.linspace(0.5, 2, classes, device=DEVICE) if weighted else None
    assert_no_worse(z, target, "triton", weight=weight, **options)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("classes", [3, 19, 70])
def test_images_are_read_with_their_strides(classes, channels_last):
    z, target = torch.randn(2, classes, 5, 7), torch.randint(classes, (2, 5, 7))
    target[0, 0] = -100
    z, target = z.to(DEVICE), target.to(DEVICE)
    if channels_last:
        z = z.contiguous(memory_format=torch.channels_last)
    for options in OPTIONS[1:6:4]:
        loss, gradient = results(z, target, "triton", **options)
        expected = results(z.double(), target, **options)
        torch.testing.assert_close((loss, gradient), expected, rtol=1e-5, atol=1e-6)
    leaf = z.clone().requires_grad_()
    with use("triton"):
        encouraging_loss(leaf, target).backward()
        overwritten = leaf * 1
        encouraging_loss(overwritten, target, inplace=True)
    assert leaf.grad.stride() == z.stride()
    torch.testing.assert_close(overwritten.detach(), leaf.grad)


def test_targets_out_of_range_are_marked():
    z, target = case(4, 9)
    target[1], target[2] = 9, -1
    gradient = torch.empty_like(z)
    options = kernel_options(RowOptions(Bonus()), 9, z.dtype)
    losses, log_p = softmax_launch_triton.losses_and_gradient(
        z.unsqueeze(0), target, -100, options, None, None, gradient.unsqueeze(0)
    )
    for result in (losses, log_p, gradient.sum(1)):
        assert result.isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, *GENERAL[:2]], ids=str)
@pytest.mark.parametrize("classes", [5, 5000, *long(1, 423)])
def test_class_probabilities(options, classes, weighted):
    z, _ = case(6, classes)
    q = torch.rand(6, classes, device=DEVICE)
    z[0, 0], z[1, classes // 2] = 60.0, 1000.0
    if classes > 1 and not options:
        z[2, 1], q[2, 1] = -torch.inf, 0.0
    results = []
    for path, dtype in (("triton", torch.float32), ("formula", torch.float64)):
        leaves = z.to(dtype).requires_grad_(), q.to(dtype).requires_grad_()
        weight = torch.linspace(0.5, 2, classes, device=DEVICE, dtype=dtype) if weighted else None
        with use(path):
            loss = encouraging_loss(*leaves, weight, reduction="none", **options)
        results.append(
            (loss.detach().double(), *torch.autograd.grad(loss, leaves, torch.arange(6.0).to(loss)))
        )
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, check_dtype=False)
