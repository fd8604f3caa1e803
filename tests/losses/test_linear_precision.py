"""The linear form's numerics: float32 errors, half precision, loss scaling, autocast, overflow."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import encouraging_loss, linear_encouraging_loss
from el_plugins.losses.kernels import use
from tests.losses.linear_cases import layer
from tests.losses.oracle import row

pytestmark = pytest.mark.usefixtures("small_chunks")


@pytest.mark.parametrize(
    "options", [{}, {"log_end": 1.0, "label_smoothing": 0.1, "smoothing": "fairseq"}], ids=str
)
@pytest.mark.parametrize("classes", [1, 2, 3, 423, 32000])
def test_errors_of_odd_sizes_are_single_precisions_own(classes, options):
    generator = torch.Generator().manual_seed(classes)
    hidden, matrix = (torch.randn(size, 6, generator=generator) for size in (7, classes))
    target = torch.randint(classes, (7,), generator=generator)
    target[3] = -100

    def results(dtype, form):
        leaves = [x.to(dtype).requires_grad_() for x in (hidden, matrix)]
        loss = form(*leaves)
        return [x.double() for x in (loss.detach(), *torch.autograd.grad(loss, leaves))]

    def whole(h, m):
        with use("formula"):
            return encouraging_loss(F.linear(h, m), target, **options)

    exact, single = results(torch.float64, whole), results(torch.float32, whole)
    actual = results(torch.float32, lambda h, m: linear_encouraging_loss(h, m, target, **options))
    for got, plain, expected in zip(actual, single, exact):
        scale = 1 + expected.abs()
        error, allowed = ((got - expected) / scale).abs().max(), ((plain - expected) / scale).abs().max()
        # A product of few rows may sum 32,000 terms one after another: 6e-6 by itself with MKL.
        assert error <= 1.5 * allowed + (1e-6 if classes < 32000 else 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes(dtype):
    hidden, matrix, offset, target = layer(dtype)
    loss = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset)
    assert loss.dtype == torch.float32
    loss.backward()
    wide = [x.detach().double().requires_grad_() for x in (hidden, matrix, offset)]
    exact = linear_encouraging_loss(wide[0], wide[1], target, linear_bias=wide[2])
    exact.backward()
    torch.testing.assert_close(loss.double(), exact, rtol=0.02, atol=0.02)
    for narrow, x in zip((hidden, matrix, offset), wide):
        assert narrow.grad.dtype == dtype
        torch.testing.assert_close(narrow.grad.double(), x.grad, rtol=0.05, atol=0.02)


def test_loss_scaling_comes_before_the_rounding():
    # The gradients of the unlikely classes are below fp16's smallest number until it is scaled.
    hidden = torch.tensor([[4.0, 0.0], [4.0, 1.0]], dtype=torch.float16, requires_grad=True)
    matrix = torch.tensor([[3.0, 1.0], [-2.0, 0.5], [-1.5, 0.0]], dtype=torch.float16, requires_grad=True)
    target = torch.tensor([0, 0])
    (linear_encouraging_loss(hidden, matrix, target, bonus="none", reduction="sum") * 2.0**14).backward()
    exact = matrix.detach().double().requires_grad_()
    (F.cross_entropy(hidden.double() @ exact.t(), target, reduction="sum") * 2.0**14).backward()
    torch.testing.assert_close(matrix.grad[1:].double(), exact.grad[1:], rtol=2e-3, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(("forward", "backward"), [(True, False), (True, True), (False, True)])
def test_autocast(reduction, forward, backward):
    hidden, matrix, offset, target = layer(torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=forward):
        loss = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset, reduction=reduction)
    exact = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset, reduction=reduction)
    expected = torch.autograd.grad(exact.sum(), (hidden, matrix, offset))
    with torch.autocast("cpu", torch.bfloat16, enabled=backward):
        actual = torch.autograd.grad(loss.sum(), (hidden, matrix, offset))
    assert {loss.dtype, *(gradient.dtype for gradient in actual)} == {torch.float32}
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)


def test_logits_whose_sum_overflows():
    hidden = torch.full((1, 1), 1e20, requires_grad=True)
    matrix = torch.full((32, 1), -2e17).index_fill(0, torch.tensor([0]), 0.0).requires_grad_()
    loss = linear_encouraging_loss(hidden, matrix, torch.tensor([0]), label_smoothing=0.1)
    expected, _ = row((hidden @ matrix.t())[0].tolist(), 0, label_smoothing=0.1, log_end=0.75)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert matrix.grad.isfinite().all()
    assert hidden.grad.isfinite().all()
