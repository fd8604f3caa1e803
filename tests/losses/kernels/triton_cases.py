"""The Triton kernels against the formula, run by test_triton.py in Triton's interpreter or on a GPU."""

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import softmax_rows, use
from tests.losses.kernels.comparisons import assert_no_worse, results

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


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch):
    """Raise what fails in a kernel, which would otherwise be computed by plain operations."""
    monkeypatch.setattr(softmax_rows, "with_fallback", lambda fast, slow: fast)


def case(count, classes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(classes)
    z = (4 * torch.randn(count, classes, generator=generator)).to(DEVICE, dtype)
    target = torch.randint(classes, (count,), generator=generator).to(DEVICE)
    return z, target


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, 423, 4096, 32000, 131071])
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


def test_in_place():
    z, target = case(5, 30)
    leaf = z.requires_grad_()
    expected = results(z, target)[1]
    logits = leaf * 1
    with use("triton"):
        encouraging_loss(logits, target, reduction="sum", inplace=True).backward()
    torch.testing.assert_close(leaf.grad.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(logits.detach(), leaf.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_dtypes(dtype):
    z, target = case(6, 100, dtype)
    exact = results(z.double(), target, log_end=0.5)
    actual = results(z, target, "triton", log_end=0.5)
    torch.testing.assert_close(actual[0], exact[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual[1], exact[1], rtol=1e-2, atol=1e-6)
