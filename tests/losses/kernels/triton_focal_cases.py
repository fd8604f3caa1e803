"""The Triton kernel of halted focal loss against the formula in float64, run as triton_cases.py is."""

import pytest
import torch

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.losses.kernels import fallback, focal_function, focal_triton, use
from el_plugins.losses.kernels.focal import FocalSettings

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALTS = ("foreground", "both", "authors")


@pytest.fixture(autouse=True)
def kernel_calls(monkeypatch):
    """The kernels called, which raise instead of falling back to plain operations."""
    calls = []

    def without_fallback(fast, slow):
        calls.append(fast)
        return fast

    monkeypatch.setattr(focal_function, "with_fallback", without_fallback)
    return calls


def case(count, classes, dtype=torch.float32, scale=5.0):
    """Logits, and labels with background and ignored ones among them."""
    generator = torch.Generator().manual_seed(count + classes)
    x = scale * torch.randn(count, classes, generator=generator)
    label = torch.randint(-1, classes + 1, (count,), generator=generator)
    return x.to(DEVICE, dtype), label.to(DEVICE)


def results(x, label, path, grad_output=None, reduction="none", **options):
    """Loss and gradient in float64."""
    leaf = x.detach().requires_grad_()
    with use(path):
        loss = sigmoid_halted_focal_loss(leaf, label, reduction=reduction, **options)
    loss.backward(torch.ones_like(loss) if grad_output is None else grad_output.to(loss.dtype))
    assert leaf.grad.dtype == x.dtype
    return loss.detach().double(), leaf.grad.double()


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("alpha", [-1.0, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("phi", [0.3, 0.5, 0.9, 1.0])
def test_equals_the_formula(kernel_calls, halt, alpha, gamma, phi):
    options = {"alpha": alpha, "gamma": gamma, "halt": halt, "halt_threshold": phi}
    x, label = case(400, 3)
    actual = results(x, label, "triton", **options)
    assert kernel_calls == [focal_triton.losses, focal_triton.gradient]
    torch.testing.assert_close(actual, results(x.double(), label, "formula", **options), rtol=5e-6, atol=1e-7)
    assert actual[0][label < 0].abs().max() == actual[1][label < 0].abs().max() == 0


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"),
    [
        (torch.float32, 2e-5, 1e-30),
        (
            torch.bfloat16,
            2**-7,
            1e-30,
        ),  # 1 ulp: Triton's interpreter truncates
        (torch.float16, 2**-10, 2**-24),
    ],
)
def test_saturated_logits_of_every_dtype(halt, dtype, rtol, atol):
    x = torch.linspace(-100, 100, 161).to(DEVICE, dtype).unsqueeze(1).expand(-1, 2).repeat(4, 1)
    label = torch.arange(-1, 3, device=DEVICE).repeat_interleave(161)
    for gamma in (0.0, 0.5, 2.0):
        exact = results(x.double(), label, "formula", halt=halt, gamma=gamma)
        actual = results(x, label, "triton", halt=halt, gamma=gamma)
        torch.testing.assert_close(actual[0], exact[0], rtol=2e-5, atol=1e-30)
        torch.testing.assert_close(actual[1], exact[1], rtol=rtol, atol=atol)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (5, 2), (1024, 1), (700, 3), (13, 80), (2, 1500)])
def test_sizes_reductions_and_grad_output(reduction, count, classes):
    x, label = case(count, classes)
    grad_output = torch.randn(x.shape if reduction == "none" else ()).to(DEVICE)
    actual, exact = (
        results(y, label, path, grad_output, reduction)
        for y, path in ((x, "triton"), (x.double(), "formula"))
    )
    torch.testing.assert_close(actual, exact, rtol=1e-5, atol=1e-7)


def test_layouts_and_label_dtypes():
    x, label = case(24, 5)
    images = x.view(4, 6, 5)
    for y, t in ((x.t().contiguous().t(), label), (x[::2], label[::2]), (images, label.view(4, 6).int())):
        exact = results(y.double(), t.long(), "formula")
        torch.testing.assert_close(results(y, t, "triton"), exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nothing(shape, reduction):
    x, label = torch.zeros(shape, device=DEVICE), torch.zeros(shape[0], dtype=torch.long, device=DEVICE)
    loss, gradient = results(x, label, "triton", reduction=reduction)
    assert gradient.shape == shape
    assert loss.shape == (shape if reduction == "none" else ())
    assert not loss.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("halt", HALTS)
def test_logits_that_are_not_finite(value, halt):
    x, label = case(6, 3)
    label[:] = torch.tensor([-1, 0, 1, 2, 3, 3])
    x[:5, 1] = value
    loss, gradient = results(x, label, "triton", halt=halt)
    for output in (loss, gradient):
        assert torch.equal(output[0], torch.zeros_like(output[0]))
        assert not output[1:5, 1].isfinite().any()
        assert output[:, ::2].isfinite().all()
    assert not results(x, label, "triton", reduction="sum", halt=halt)[0].isfinite()


@pytest.mark.parametrize("classes", [1, 5, 1500])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_every_integer_dtype_of_labels(dtype, classes):
    # Elements past the end of the labels are not background, though no negative label marks them if unsigned.
    settings = FocalSettings(-1.0, 2.0, "foreground", 0.5)
    background = min(classes, 100)
    x, label = torch.zeros(3, classes, device=DEVICE), torch.full((3,), background, device=DEVICE)
    expected = results(x, label, "formula", reduction="sum", alpha=-1.0)
    actual = results(x, label.to(dtype), "triton", reduction="sum", alpha=-1.0)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)
    loss = focal_triton.losses(x, label.to(dtype), settings, True)
    torch.testing.assert_close(loss.double(), expected[0], rtol=1e-5, atol=1e-7)
    gradient = focal_triton.gradient(x, torch.ones((), device=DEVICE), label.to(dtype), settings)
    torch.testing.assert_close(gradient.double(), expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_labels_above_the_background_are_nan_where_they_are_not_read(reduction):
    x, label = torch.randn(4, 3, device=DEVICE, requires_grad=True), torch.tensor([4, 3, -1, 77]).to(DEVICE)
    with use("triton"):
        loss = torch.func.vmap(lambda x, t: sigmoid_halted_focal_loss(x, t, reduction=reduction))(x, label)
    loss.sum().backward()
    for values in (loss.view(4, -1), x.grad):
        assert values.isnan().all(dim=1).tolist() == values.isnan().any(dim=1).tolist()
        assert values.isnan().any(dim=1).tolist() == [True, False, False, True]


def test_second_derivatives_are_refused_and_a_second_backward_is_not():
    x, label = case(6, 3)
    leaf = x.requires_grad_()
    with use("triton"):
        loss = sigmoid_halted_focal_loss(leaf, label, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable once: for second derivatives"):
        gradient.sum().backward()
    assert torch.equal(gradient, torch.autograd.grad(loss, leaf)[0])


def test_double_precision_is_computed_otherwise(kernel_calls, monkeypatch):
    monkeypatch.setattr(focal_function, "compiled", lambda function: function)
    x, label = case(6, 3)
    for target in (label, torch.rand(6, 3).to(DEVICE), torch.rand(6, 3).to(DEVICE) > 0.5):
        for reduction in ("none", "sum"):
            expected = results(x.double(), target, "formula", reduction=reduction)
            actual = results(x.double(), target, "triton", reduction=reduction)
            torch.testing.assert_close(actual, expected)
    assert not kernel_calls


def test_where_the_kernel_fails_plain_operations_are_used(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no kernel on purpose")

    monkeypatch.setattr(focal_triton, "losses", broken)
    monkeypatch.setattr(focal_triton, "gradient", broken)
    monkeypatch.setattr(focal_function, "with_fallback", fallback.with_fallback)
    x, label = case(6, 3)
    for got, expected in zip(results(x, label, "triton"), results(x, label, "chunks")):
        assert torch.equal(got, expected)
