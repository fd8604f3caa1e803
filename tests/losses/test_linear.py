"""The linear form against the loss of the logits, in value, gradients and memory."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from el_plugins.losses import LinearEncouragingLoss, encouraging_loss, linear_encouraging_loss
from el_plugins.losses.kernels import linear_function, use
from tests.losses.oracle import row

OPTIONS = [
    {},
    {"log_end": 1.0, "label_smoothing": 0.1, "smoothing": "fairseq"},
    {"log_end": 1.0, "bonus_eps": 0.3},
    {"bonus": "none"},
    {"bonus_weight": 0.0, "weight": torch.linspace(0.5, 2, 11)},
    {"bonus": "cosine", "label_smoothing": 0.1, "weight": torch.linspace(0.5, 2, 11)},
]


@pytest.fixture(params=["formula", "chunks", "auto"], autouse=True)
def small_chunks(request, monkeypatch):
    """Three rows at a time, so that every test goes through several chunks."""
    monkeypatch.setattr(linear_function, "rows_at_a_time", lambda count, classes: 3)
    with use(request.param):
        yield request.param


def layer(dtype=torch.float64, shape=(10,), bias=True):
    torch.manual_seed(0)
    hidden = torch.randn(*shape, 6, dtype=dtype, requires_grad=True)
    matrix = torch.randn(11, 6, dtype=dtype, requires_grad=True)
    offset = torch.randn(11, dtype=dtype, requires_grad=True) if bias else None
    target = torch.randint(11, shape)
    target.view(-1)[4] = -100
    return hidden, matrix, offset, target


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_loss_of_the_logits(reduction, options, bias):
    hidden, matrix, offset, target = layer(shape=(5, 2), bias=bias)
    inputs = [x for x in (hidden, matrix, offset) if x is not None]
    found = linear_encouraging_loss(
        hidden, matrix, target, linear_bias=offset, reduction=reduction, **options
    )
    with use("formula"):
        logits = F.linear(hidden, matrix, offset).flatten(0, 1)
        wanted = encouraging_loss(logits, target.flatten(), reduction=reduction, **options)
    wanted = wanted.view(found.shape)
    torch.testing.assert_close(found, wanted)
    upstream = torch.randn(found.shape, dtype=found.dtype)
    gradients = [torch.autograd.grad(loss, inputs, upstream) for loss in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"bonus": "none"}], ids=str)
def test_log_prob_of_the_targets_on_request(reduction, options):
    hidden, matrix, offset, target = layer()
    arguments = {"linear_bias": offset, "reduction": reduction, **options}
    loss, log_prob = linear_encouraging_loss(hidden, matrix, target, **arguments, return_log_prob=True)
    torch.testing.assert_close(loss, linear_encouraging_loss(hidden, matrix, target, **arguments))
    logits = F.linear(hidden, matrix, offset).detach()
    torch.testing.assert_close(log_prob, -F.cross_entropy(logits, target, reduction="none"))


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
    found = results(torch.float32, lambda h, m: linear_encouraging_loss(h, m, target, **options))
    for got, plain, wanted in zip(found, single, exact):
        scale = 1 + wanted.abs()
        error, allowed = ((got - wanted) / scale).abs().max(), ((plain - wanted) / scale).abs().max()
        assert error <= 1.5 * allowed + 1e-6


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
    wanted = torch.autograd.grad(exact.sum(), (hidden, matrix, offset))
    with torch.autocast("cpu", torch.bfloat16, enabled=backward):
        found = torch.autograd.grad(loss.sum(), (hidden, matrix, offset))
    assert {loss.dtype, *(gradient.dtype for gradient in found)} == {torch.float32}
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)


@pytest.fixture
def by_torch(monkeypatch, small_chunks):
    """Dtype and rows at a time of each call of torch's own routine, where the choice is left open."""
    if small_chunks != "auto" or not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        pytest.skip("torch's own routine is not in question")
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
    found = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset, bonus="none", **options)
    assert by_torch == [(torch.float64, 3)]
    wanted = F.cross_entropy(F.linear(hidden, matrix, offset), target, **options)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(3 * loss, (hidden, matrix, offset)) for loss in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_where_torchs_own_would_not_do(by_torch, monkeypatch):
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


@pytest.mark.parametrize("options", [{}, {"bonus": "none"}], ids=str)
def test_ignored_rows_are_nothing(options):
    hidden, matrix, offset, target = layer()
    with torch.no_grad():
        offset[0] = -torch.inf  # excluded
    target[target == 0] = 1
    clean = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset, **options)
    wanted, wanted_of_matrix = torch.autograd.grad(clean, (hidden, matrix))
    spoiled = hidden.detach().clone()
    spoiled[4] = float("nan")
    spoiled.requires_grad_()
    loss = linear_encouraging_loss(spoiled, matrix, target, linear_bias=offset, **options)
    loss.backward()
    torch.testing.assert_close(loss, clean)
    torch.testing.assert_close(spoiled.grad[target >= 0], wanted[target >= 0])
    torch.testing.assert_close(matrix.grad, wanted_of_matrix)


@pytest.mark.parametrize("options", [{}, {"bonus": "none"}], ids=str)
def test_second_derivatives_are_refused(small_chunks, options):
    if small_chunks == "formula":
        pytest.skip("the formula has them")
    hidden, matrix, _, target = layer()
    loss = linear_encouraging_loss(hidden, matrix, target, **options)
    with pytest.raises(RuntimeError, match="differentiable once: for second derivatives"):
        torch.autograd.grad(loss, hidden, create_graph=True)


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
def test_the_logits_are_never_all_there(small_chunks, bonus):
    if small_chunks == "formula":
        pytest.skip("the formula needs them")
    hidden, matrix, _, target = layer(shape=(200,))
    with LargestTensor() as largest:
        linear_encouraging_loss(hidden, matrix, target, bonus=bonus).backward()
    assert largest.elements == hidden.numel() < 200 * 11


def test_rows_at_a_time_is_as_documented(monkeypatch):
    monkeypatch.undo()
    assert linear_function.rows_at_a_time(100_000, 32_000) == 2**22 // 32_000
    assert linear_function.rows_at_a_time(4096, 256_000) == 128
    assert linear_function.rows_at_a_time(512, 256_000) == 32
    assert linear_function.rows_at_a_time(0, 0) > 0


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


@pytest.mark.parametrize("bonus", ["log", "none"])
def test_nothing_left_and_no_rows(bonus):
    hidden, matrix, _, target = layer()
    loss = linear_encouraging_loss(hidden, matrix, torch.full_like(target, -100), bonus=bonus)
    loss.backward()
    assert loss.item() == hidden.grad.abs().max().item() == matrix.grad.abs().max().item() == 0
    assert linear_encouraging_loss(hidden[:0], matrix, target[:0], bonus=bonus).item() == 0


def test_a_vocabulary_so_far_apart_that_its_sum_overflows():
    hidden = torch.full((1, 1), 1e20, requires_grad=True)
    matrix = torch.full((32, 1), -2e17).index_fill(0, torch.tensor([0]), 0.0).requires_grad_()
    loss = linear_encouraging_loss(hidden, matrix, torch.tensor([0]), label_smoothing=0.1)
    wanted, _ = row((hidden @ matrix.t())[0].tolist(), 0, label_smoothing=0.1, log_end=0.75)
    assert loss.item() == pytest.approx(wanted, rel=1e-6)
    loss.backward()
    assert matrix.grad.isfinite().all()
    assert hidden.grad.isfinite().all()


class Wrapped(torch.Tensor):
    """A tensor whose elements lie elsewhere, as DTensor's or a quantised one's do."""

    @staticmethod
    def __new__(cls, shape):
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float64)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} of what is not here")


class Named(torch.Tensor):
    """A plain tensor by another name."""


class Shared(torch.nn.Parameter):
    """As accelerate and others derive theirs."""


@pytest.mark.parametrize("kind", [lambda x: x.detach().as_subclass(Named).requires_grad_(), Shared])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("bonus", ["log", "none"])
def test_subclasses_of_plain_tensors(kind, reduction, bonus):
    hidden, matrix, offset, target = layer()
    plain = (hidden, matrix, offset)
    named = [kind(x) for x in plain]
    results = []
    for h, m, o in (plain, named):
        loss = linear_encouraging_loss(h, m, target, linear_bias=o, reduction=reduction, bonus=bonus)
        results.append([loss, *torch.autograd.grad(loss.sum(), (h, m, o))])
    for found, wanted in zip(*reversed(results)):
        torch.testing.assert_close(found.as_subclass(torch.Tensor), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linear_weight": torch.zeros(11, 5).double()}, "linear_weight must have shape (classes, 6)"),
        ({"linear_weight": torch.zeros(0).double()}, "linear_weight must have shape (classes, 6)"),
        ({"linear_weight": Wrapped((11, 6))}, "got Wrapped: gather sharded"),
        ({"linear_weight": torch.zeros(11, 6).double().to_sparse()}, "got layout torch.sparse_coo: gather"),
        ({"ignore_index": None}, "ignore_index must be an integer, got None"),
        ({"linear_bias": torch.zeros(5).double()}, "linear_bias must have shape (11,), got (5,)"),
        ({"target": torch.zeros(9).long()}, "target must be integer class indices of shape (10,)"),
        ({"target": torch.full((10,), 11)}, "target must be a class index from 0 to 10"),
        ({"weight": torch.ones(3)}, "weight must have one element for each of the 11 classes"),
        ({"log_end": 2.0}, "log_end must be"),
        ({"reduction": "all"}, "reduction must be one of"),
    ],
)
def test_errors(change, message):
    hidden, matrix, _, target = layer()
    arguments = {"input": hidden, "linear_weight": matrix, "target": target, **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        linear_encouraging_loss(**arguments)


def test_module():
    torch.manual_seed(0)
    module = LinearEncouragingLoss(6, 11, bias=True, label_smoothing=0.1, weight=torch.linspace(1, 2, 11))
    hidden, target = torch.randn(10, 6), torch.randint(11, (10,))
    wanted = encouraging_loss(module.linear(hidden), target, torch.linspace(1, 2, 11), label_smoothing=0.1)
    torch.testing.assert_close(module(hidden, target), wanted)
    assert set(module.state_dict()) == {"linear.weight", "linear.bias", "loss.weight"}
    with pytest.raises(ValueError, match="log_end must be"):
        LinearEncouragingLoss(6, 11, log_end=2.0)
