"""Operations, launches and bytes of a step of halted focal loss, counted in Triton's interpreter."""

import pytest
import torch

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.losses.kernels import focal_triton, use
from tests.losses.kernels.counting import counted
from tests.losses.kernels.triton_focal_cases import case
from tests.losses.kernels.triton_focal_sum_cases import KINDS, targets_of

MOST = 16  # operations and launches of a step


def step(monkeypatch, x, target, factor=1.0, **options):
    """What forward and backward cost; the upstream gradient is there already."""
    leaf = x.detach().requires_grad_()
    shape = x.shape if options["reduction"] == "none" else ()
    grad_output = torch.full(shape, factor)
    with counted(monkeypatch) as counts, use("triton"):
        loss = sigmoid_halted_focal_loss(leaf, target, **options)
        torch.autograd.grad(loss, leaf, grad_output)
    return counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_few_operations(monkeypatch, kind, reduction, dtype):
    x, label = case(30, 16, dtype)
    counts = step(monkeypatch, x, targets_of(kind, x, label), reduction=reduction)
    assert len(counts.launches) == 2
    assert counts.count <= MOST, counts.operations


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_byte_once(monkeypatch, kind, reduction, dtype):
    x, label = case(128, 80, dtype)
    target = targets_of(kind, x, label)
    counts = step(monkeypatch, x, target, reduction=reduction)
    model = focal_triton.traffic(x, target, "sum", gradient=True)
    assert counts.bytes == pytest.approx(model, rel=0.02)  # two programs may read a row's label
    per_element = 2 * x.itemsize + (target.itemsize if target.dim() == 2 else 8 / 80)
    assert model / x.numel() == pytest.approx(per_element, rel=0.01)


def test_backward_reads_the_gradient_only_for_a_factor(monkeypatch):
    x, label = case(128, 80)
    once, scaled = (step(monkeypatch, x, label, factor, reduction="sum").bytes for factor in (1.0, 2.0))
    assert scaled - once == 2 * x.nbytes


@pytest.mark.parametrize(("reduction", "dtype"), [("sum", torch.float16), ("none", torch.float32)])
def test_recomputing_reads_the_logits_twice(monkeypatch, reduction, dtype):
    x, label = case(128, 80, dtype)
    counts = step(monkeypatch, x, label, reduction=reduction)
    each = reduction == "none"
    model = focal_triton.traffic(x, label, "each" if each else "sum")
    model += focal_triton.traffic(x, label, gradient=True, scales=each)
    assert counts.bytes == pytest.approx(model, rel=0.02)
    assert model / x.numel() == pytest.approx(3 * x.itemsize + 8 * each, rel=0.05)
