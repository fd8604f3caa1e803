"""The closed-form gradients by plain operations against the formula: sizes, dtypes, layouts, certain rows."""

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import use
from tests.losses.kernels.comparisons import SETTINGS, assert_no_worse, results


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, 423, 32000, 131071])
def test_chunks_at_odd_sizes(classes, options):
    generator = torch.Generator().manual_seed(classes)
    z = 4 * torch.randn(17, classes, generator=generator)
    target = torch.randint(classes, (17,), generator=generator)
    z[::3].scatter_(1, target[::3].unsqueeze(1), 30.0)  # well classified
    target[-1] = -100
    assert_no_worse(z, target, "chunks", **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("p", [0.999, 0.999999])
def test_narrow_gradients_are_rounded_once(dtype, p):
    z = torch.tensor([[float(torch.logit(torch.tensor(p, dtype=torch.float64))), 0.0]]).to(dtype)
    target = torch.tensor([0])
    _, exact = results(z.double(), target, log_end=1.0, bonus_eps=0.0)
    _, actual = results(z, target, "chunks", log_end=1.0, bonus_eps=0.0)
    assert torch.equal(actual, exact.to(dtype).double())
    assert actual[0, 0] == -1


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_any_layout_and_grad_output(options):
    layouts = [torch.randn(6, 9).t(), torch.randn(9, 12)[:, ::2], torch.randn(2, 6, 3, 2)]
    for z in layouts:
        shape = z.shape[:1] + z.shape[2:]
        target, grad_output = torch.randint(z.size(1), shape), torch.randn(shape)
        exact = results(z.double(), target, grad_output=grad_output, **options)
        actual = results(z, target, "chunks", grad_output, **options)
        torch.testing.assert_close(actual, exact, rtol=1e-5, atol=1e-5)


def test_all_ignored_rows_are_zero():
    z = torch.full((5, 7), float("nan"), requires_grad=True)
    with use("chunks"):
        loss = encouraging_loss(z, torch.full((5,), -100))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(z.grad, torch.zeros(5, 7))


def test_certain_rows_with_a_large_grad_output_stay_finite():
    z = torch.tensor([[68.5, 0.0, 0.5], [29.0, 0.0, 0.5]])
    target, grad_output = torch.tensor([0, 0]), torch.tensor([2.0**31, 2.0**31])
    options = {"log_end": 1.0, "bonus_eps": 0.0}
    exact = results(z.double(), target, grad_output=grad_output, **options)
    torch.testing.assert_close(results(z, target, "chunks", grad_output, **options), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("path", ["formula", "chunks"])
def test_mixed_precision_training_step(path):
    torch.manual_seed(0)
    layer, x, target = torch.nn.Linear(6, 9), torch.randn(20, 6), torch.randint(9, (20,))
    with use(path), torch.autocast("cpu", torch.bfloat16):
        logits = layer(x)
        loss = encouraging_loss(logits, target)
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    _, expected = results(logits, target, grad_output=torch.full((20,), 1024 / 20))
    (actual,) = torch.autograd.grad(1024 * loss, logits, retain_graph=True)  # as loss scaling does
    torch.testing.assert_close(actual.double(), expected, rtol=2**-7, atol=0)
    loss.backward()
    assert layer.weight.grad.isfinite().all()
