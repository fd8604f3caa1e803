"""Memory and autograd of the linear form: chunks of logits, one backward, tied weights."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from el_plugins.losses import encouraging_loss, linear_encouraging_loss
from el_plugins.losses.kernels import linear_chunks, linear_function
from tests.losses.linear_cases import layer

pytestmark = pytest.mark.usefixtures("small_chunks")


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        for value in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return output


@pytest.mark.parametrize("bonus", ["log", "none"])
def test_all_logits_never_exist_at_once(small_chunks, bonus):
    if small_chunks == "formula":
        pytest.skip("the formula needs them")
    hidden, matrix, _, target = layer(shape=(200,))
    with LargestTensor() as largest:
        linear_encouraging_loss(hidden, matrix, target, bonus=bonus).backward()
    assert largest.elements == hidden.numel() < 200 * 11


def test_rows_at_a_time_is_as_documented(monkeypatch):
    monkeypatch.undo()

    def rows(count, classes):
        return linear_function.rows_at_a_time(torch.empty(count, 4), classes)

    assert rows(100_000, 32_000) == 2**22 // 32_000
    assert rows(4096, 256_000) == 128
    assert rows(512, 256_000) == 128
    assert rows(64, 256_000) == 16
    assert rows(0, 0) > 0


def test_rows_at_a_time_of_a_gpu(monkeypatch):
    monkeypatch.undo()

    def rows(count, classes, free=None, dtype=torch.bfloat16):
        monkeypatch.setattr(linear_chunks, "free_memory", lambda x: free)
        with FakeTensorMode():
            hidden = torch.empty(count, 4, device="cuda", dtype=dtype)
        return linear_function.rows_at_a_time(hidden, classes)

    try:
        rows(1, 1)
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} has no fake tensors of a GPU that is missing: {error}")
    assert rows(8192, 32_000) == rows(8192, 131_072) == rows(100, 10**7) == 1024
    assert rows(8192, 6_632) == 4864  # 19 times 256, below 2**25 logits
    assert rows(2**20, 131_072) == 2**16
    free = 2**34  # an eighth is 2 GiB
    assert rows(2**20, 131_072, free) == 2**31 // (131_072 * 2)
    assert rows(2**20, 131_072, free, torch.float32) == 2**31 // (131_072 * 4)
    assert rows(8192, 131_072, free // 16) == 512
    assert rows(8192, 131_072, 0) == 256
    assert rows(0, 0, free) >= 1024


@pytest.mark.parametrize(("bonus", "message"), [("log", "needs reduction='none'"), ("none", "twice|'none'")])
def test_second_backward(small_chunks, bonus, message):
    if small_chunks == "formula":
        pytest.skip("the formula keeps its graph")
    hidden, matrix, _, target = layer()
    loss = linear_encouraging_loss(hidden, matrix, target, bonus=bonus)
    torch.autograd.grad(loss, hidden, retain_graph=True)
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(loss, hidden)
    rows = linear_encouraging_loss(hidden, matrix, target, reduction="none").sum()
    first, second = (torch.autograd.grad(rows, hidden, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("options", [{}, {"bonus": "none"}], ids=str)
def test_second_derivatives_are_refused(small_chunks, options):
    if small_chunks == "formula":
        pytest.skip("the formula has them")
    hidden, matrix, _, target = layer()
    loss = linear_encouraging_loss(hidden, matrix, target, **options)
    with pytest.raises(RuntimeError, match="differentiable once: for second derivatives"):
        torch.autograd.grad(loss, hidden, create_graph=True)


@pytest.mark.parametrize("bias", [False, True])
def test_nothing_divided_by_nothing_has_no_gradient(bias):
    hidden, matrix, linear_bias, target = layer()
    leaves = [hidden, matrix, *([linear_bias] if bias else [])]
    total = linear_encouraging_loss(
        hidden, matrix, target.fill_(-100), linear_bias=linear_bias if bias else None, reduction="sum"
    )
    for gradient in torch.autograd.grad(total / torch.tensor(0), leaves):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_tied_weights_and_frozen_parts():
    hidden, matrix, _, target = layer()
    tied = [linear_encouraging_loss(matrix[:10] * hidden, matrix, target)]
    tied.append(encouraging_loss(F.linear(matrix[:10] * hidden, matrix), target))
    torch.testing.assert_close(*(torch.autograd.grad(loss, matrix)[0] for loss in tied))
    frozen = linear_encouraging_loss(hidden, matrix.detach(), target)
    frozen.backward()
    assert hidden.grad is not None
    with torch.no_grad():
        assert linear_encouraging_loss(hidden, matrix, target).item() == pytest.approx(frozen.item())
