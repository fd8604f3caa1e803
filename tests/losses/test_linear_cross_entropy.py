"""Plain cross-entropy of the linear form is torch's own routine, where torch has it and it is exact."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import kernels, linear_encouraging_loss
from tests.losses.linear_cases import layer

pytestmark = pytest.mark.usefixtures("small_chunks")


@pytest.fixture
def by_torch(monkeypatch, small_chunks):
    """Dtype and chunk size of each call of torch's own routine, on the path ``auto``."""
    if small_chunks != "auto" or not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        pytest.skip("this path or torch does not use torch's own routine")
    routine, calls = F.linear_cross_entropy, []

    def recorded(input, *arguments, **options):
        calls.append((input.dtype, options["options"].batch_chunk_size))
        return routine(input, *arguments, **options)

    monkeypatch.setattr(F, "linear_cross_entropy", recorded)
    return calls


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weight", [None, torch.linspace(0.5, 2, 11).double()])
def test_plain_cross_entropy_is_torchs_own(by_torch, reduction, weight):
    hidden, matrix, offset, target = layer()
    target[4] = 7
    options = {"weight": weight, "ignore_index": 7, "reduction": reduction}
    actual = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset, bonus="none", **options)
    assert by_torch == [(torch.float64, 3)]
    expected = F.cross_entropy(F.linear(hidden, matrix, offset), target, **options)
    torch.testing.assert_close(actual, expected)
    gradients = [torch.autograd.grad(3 * loss, (hidden, matrix, offset)) for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)


def test_class_weights_that_are_trained_are_not_for_torchs_own(by_torch):
    hidden, matrix, _, target = layer()
    weight = torch.linspace(0.5, 2, 11).double().requires_grad_()
    with pytest.raises(ValueError, match="weight must not require a gradient"):
        linear_encouraging_loss(hidden, matrix, target, weight=weight, bonus="none")
    with kernels.use("formula"):
        loss = linear_encouraging_loss(hidden, matrix, target, weight=weight, bonus="none")
    rows = F.cross_entropy(F.linear(hidden, matrix), target, reduction="none")
    weights = weight[target.clamp(min=0)] * (target != -100)
    exact = (rows * weights).sum() / weights.sum()
    torch.testing.assert_close(*(torch.autograd.grad(value, weight) for value in (loss, exact)))
    assert not by_torch


def test_where_torchs_own_is_not_used(by_torch, monkeypatch):
    hidden, matrix, _, target = layer()
    others = ({"reduction": "none"}, {"label_smoothing": 0.1}, {"bonus": "log"})
    for options in others:
        linear_encouraging_loss(hidden, matrix, target, **{"bonus": "none", **options})
    narrow = linear_encouraging_loss(hidden.bfloat16(), matrix.bfloat16(), target, bonus="none")
    with torch.autocast("cpu", torch.bfloat16):
        cast = linear_encouraging_loss(hidden.float(), matrix.float(), target, bonus="none")
    assert narrow.dtype == cast.dtype == torch.float32
    monkeypatch.delattr(torch.nn, "LinearCrossEntropyOptions")  # as in older torch
    linear_encouraging_loss(hidden, matrix, target, bonus="none")
    assert not by_torch
