"""The sum of halted focal loss with its gradient made in forward, by kinds of targets: see triton_cases."""

import pytest
import torch
from torch.autograd import forward_ad

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.losses.halted_focal import focal_loss
from el_plugins.losses.kernels import (
    fallback,
    focal_function,
    focal_sum,
    focal_triton,
    scale_triton,
    scaling,
    use,
)
from el_plugins.losses.kernels.focal import FocalSettings
from tests.losses.kernels.triton_focal_cases import DEVICE, HALTS, case, results

SETTINGS = FocalSettings(0.25, 2.0, "foreground", 0.5)
KINDS = ("classes", "bool", "int8", "int64", "float32", "bfloat16", "float64", "soft")
MODULES = (focal_function, focal_sum, scaling)


@pytest.fixture(autouse=True)
def kernel_calls(monkeypatch):
    """The kernels called, which raise instead of falling back to plain operations."""
    calls = []
    for module in MODULES:
        monkeypatch.setattr(module, "with_fallback", lambda fast, slow: calls.append(fast) or fast)
    return calls


def targets_of(kind, x, label):
    """Targets of ``kind`` for logits ``x``, whose class indices are ``label``."""
    if kind == "classes":
        return label
    if kind == "soft":
        return torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x.device)
    dense = label.unsqueeze(1) == torch.arange(x.size(1), device=x.device)
    return dense.to(getattr(torch, kind))


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reduction", "dtype"),
    [
        ("none", torch.float32),
        ("mean", torch.float32),
        ("sum", torch.float32),
        ("sum", torch.bfloat16),
        ("sum", torch.float16),
    ],
)
def test_every_kind_of_target_and_dtype(kernel_calls, halt, kind, reduction, dtype):
    x, label = case(70, 24, dtype)
    target = targets_of(kind, x, label)
    actual = results(x, target, "triton", reduction=reduction, halt=halt)
    if reduction == "none" or dtype == torch.float16:
        assert kernel_calls == [focal_triton.losses, focal_triton.gradient]
    else:
        assert kernel_calls == [focal_triton.loss_and_gradient, scale_triton.scale_]
    exact = results(x.double(), target, "formula", reduction=reduction, halt=halt)
    torch.testing.assert_close(actual[0], exact[0], rtol=1e-5, atol=1e-6)
    # The interpreter truncates to bfloat16.
    rtol = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}[dtype]
    torch.testing.assert_close(actual[1], exact[1], rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan"), 2], ids=str)
def test_dense_targets_out_of_range_are_nan(wrong):
    x, target = torch.randn(2, 2, device=DEVICE), torch.tensor([[wrong, 1], [0, 1]], device=DEVICE)
    losses = focal_triton.losses(x, target, SETTINGS, False)
    gradient = focal_triton.gradient(x, torch.ones((), device=DEVICE), target, SETTINGS)
    for values in (losses, gradient):
        assert values.isnan().tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("kind", ["classes", "bool"])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_graph_that_is_kept_gives_the_same_gradient_again(kind, factor):
    x, label = case(40, 5)
    leaf, target = x.requires_grad_(), targets_of(kind, x, label)
    with use("triton"):
        loss = factor * sigmoid_halted_focal_loss(leaf, target, reduction="sum")
    first = torch.autograd.grad(loss, leaf, retain_graph=True)[0]
    kept = first.clone()
    first.zero_()  # the caller's own
    second = torch.autograd.grad(loss, leaf, retain_graph=True)[0]
    assert torch.equal(second, kept)
    for times in (2, 3):
        third = torch.autograd.grad(loss * times, leaf, retain_graph=times == 2)[0]
        torch.testing.assert_close(third, kept * times)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_what_is_saved_is_the_gradient_and_not_the_logits():
    saved = []
    x, label = case(40, 5)
    with (
        use("triton"),
        torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
        ),
    ):
        loss = sigmoid_halted_focal_loss(x.requires_grad_(), label, reduction="sum")
    (gradient,) = saved
    loss.backward()
    assert torch.equal(x.grad, gradient)
    assert x.grad.data_ptr() == gradient.data_ptr()


def test_a_divisor_known_in_forward_is_in_the_gradient():
    x, label = case(40, 5)
    found = []
    for divisor in (7.5, 1):
        leaf = x.clone().requires_grad_()
        with use("triton"):
            loss = focal_loss(leaf, label, SETTINGS, "sum", divisor) * (1 if divisor == 7.5 else 1 / 7.5)
        loss.backward()
        found.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_forward_mode_and_transforms_have_their_own_node(kernel_calls):
    x, label = case(12, 5)

    def loss(x):
        return sigmoid_halted_focal_loss(x, label, reduction="mean")

    with use("triton"):
        gradient = torch.func.grad(loss)(x)
        tangent = torch.func.jvp(loss, (x,), (x,))[1]
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.requires_grad_(), x.detach())
            again = forward_ad.unpack_dual(loss(dual)).tangent
        batch = torch.func.vmap(torch.func.grad(loss))(torch.stack([x.detach(), 2 * x.detach()]))
    assert focal_triton.loss_and_gradient not in kernel_calls
    expected = results(x, label, "formula", reduction="mean")[1].float()
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(batch[0], expected)
    for value in (tangent, again):
        torch.testing.assert_close(value, (expected * x).sum())


def test_batches_of_gradients_and_saved_tensors_on_another_device():
    x, label = case(12, 5)
    with use("triton"), torch.autograd.graph.save_on_cpu():
        loss = sigmoid_halted_focal_loss(x.requires_grad_(), label, reduction="mean")
    factors = torch.tensor([1.0, 2.0, 0.0], device=x.device)
    (actual,) = torch.autograd.grad(loss, x, factors, is_grads_batched=True)
    expected = results(x, label, "formula", reduction="mean")[1].float()
    torch.testing.assert_close(actual, factors.view(3, 1, 1) * expected)


@pytest.mark.parametrize("kind", ["classes", "soft"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_where_the_kernels_fail_plain_operations_are_used(kind, reduction, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no kernel on purpose")

    for module in MODULES:
        monkeypatch.setattr(module, "with_fallback", fallback.with_fallback)
    monkeypatch.setattr(focal_triton, "loss_and_gradient", broken)
    monkeypatch.setattr(scale_triton, "scale_", broken)
    x, label = case(12, 5)
    factor = torch.tensor(3.0, device=x.device)
    found = [
        results(x, targets_of(kind, x, label), path, factor, reduction) for path in ("triton", "formula")
    ]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
