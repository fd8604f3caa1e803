"""Encouraging loss of class probabilities: torch's own, the class-index form and 50 digits mixed by q."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import EncouragingLoss, encouraging_loss
from el_plugins.losses.kernels import chunks, use
from tests.losses.encouraging_cases import BONUS_OPTIONS, HARD_LOGITS, oracle_options
from tests.losses.oracle import row

pytestmark = pytest.mark.usefixtures("path")

LAYOUTS = [(5,), (7, 5), (3, 5, 2), (2, 5, 3, 4)]


def logits_and_probabilities(*shape, dtype=torch.float64):
    torch.manual_seed(0)
    class_dim = min(len(shape) - 1, 1)
    z = torch.randn(shape, dtype=dtype, requires_grad=True)
    q = torch.randn(shape, dtype=dtype).softmax(class_dim)
    return z, q.requires_grad_()


@pytest.mark.parametrize("shape", LAYOUTS)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_bonus_it_is_cross_entropy(shape, reduction, label_smoothing, weighted):
    z, q = logits_and_probabilities(*shape)
    weight = torch.rand(5, dtype=torch.float64) if weighted else None
    options = {"weight": weight, "reduction": reduction, "label_smoothing": label_smoothing}
    actual = encouraging_loss(z, q, bonus="none", **options)
    expected = F.cross_entropy(z, q, **options)
    torch.testing.assert_close(actual, expected)
    grad_output = torch.rand_like(expected)
    gradients = [torch.autograd.grad(loss, (z, q), grad_output) for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
@pytest.mark.parametrize("shape", LAYOUTS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_one_hot_probabilities_are_the_class_index(shape, options, label_smoothing):
    z, _ = logits_and_probabilities(*shape)
    target = torch.randint(5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    q = F.one_hot(target, 5).movedim(-1, min(len(shape) - 1, 1)).double()
    options = {"weight": torch.rand(5), "label_smoothing": label_smoothing, "reduction": "none", **options}
    losses = [encouraging_loss(z, form, **options) for form in (q, target)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*[torch.autograd.grad(loss.sum(), z)[0] for loss in losses])


@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_equals_fifty_digits_mixed_by_the_probabilities(options, dtype, tolerance):
    for logits in HARD_LOGITS:
        z = torch.tensor([logits], dtype=dtype, requires_grad=True)
        q = torch.linspace(1, 2, len(logits), dtype=dtype)
        q = (q / q.sum()).requires_grad_()
        loss = encouraging_loss(z, q.unsqueeze(0), **options)
        gradients = torch.autograd.grad(loss, (z, q))
        rows = [row(z[0].tolist(), target, **oracle_options(options)) for target in range(len(logits))]
        by_class = torch.tensor([value for value, _ in rows], dtype=torch.float64)
        by_logit = torch.tensor([gradient for _, gradient in rows], dtype=torch.float64)
        close = {"rtol": 4 * tolerance, "atol": 4 * tolerance, "check_dtype": False}
        torch.testing.assert_close(loss, q.detach().double() @ by_class, **close)
        torch.testing.assert_close(gradients[0][0], q.detach().double() @ by_logit, **close)
        torch.testing.assert_close(gradients[1], by_class, **close)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
def test_derivatives_of_logits_and_probabilities_by_finite_differences(formula, options, label_smoothing):
    inputs = logits_and_probabilities(3, 4)

    def loss(z, q):
        return encouraging_loss(z, q, label_smoothing=label_smoothing, reduction="none", **options)

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize("options", BONUS_OPTIONS, ids=str)
def test_a_class_without_probability_may_be_excluded(options):
    z = torch.tensor([[0.5, -torch.inf, 1.0], [-torch.inf, 2.0, -torch.inf]], requires_grad=True)
    q = torch.tensor([[0.3, 0.0, 0.7], [0.0, 1.0, 0.0]], requires_grad=True)
    losses = encouraging_loss(z, q, reduction="none", **options)
    gradients = torch.autograd.grad(losses.sum(), (z, q))
    without = torch.tensor([[0.5, 1.0]], requires_grad=True)
    expected = encouraging_loss(without, torch.tensor([[0.3, 0.7]]), **options)
    torch.testing.assert_close(losses, torch.stack([expected, torch.tensor(0.0)]))
    torch.testing.assert_close(gradients[0][0, [0, 2]], torch.autograd.grad(expected, without)[0][0])
    assert gradients[0][0, 1] == 0
    assert not gradients[0][1].any()
    assert gradients[1].isfinite().all()
    with_mass = encouraging_loss(z[:1], torch.tensor([[0.3, 0.1, 0.6]]), **options)
    assert not with_mass.isfinite()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_overflow_stays_visible(bad):
    z = torch.tensor([[0.3, bad, -0.2], [0.1, 0.2, 0.3]], requires_grad=True)
    losses = encouraging_loss(z, torch.tensor([[0.5, 0.0, 0.5]] * 2), reduction="none")
    losses.sum().backward()
    assert losses.isfinite().tolist() == [False, True]
    assert z.grad.isfinite().all(dim=1).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_and_rounded_once(dtype):
    z, q = (x.detach().requires_grad_() for x in logits_and_probabilities(8, 20, dtype=dtype))
    wide = [x.detach().float().requires_grad_() for x in (z, q)]
    losses = [encouraging_loss(*pair, log_end=1.0) for pair in ((z, q), wide)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    assert torch.equal(z.grad, wide[0].grad.to(dtype))
    assert torch.equal(q.grad, wide[1].grad.to(dtype))


def test_edges_without_rows_or_without_other_classes():
    assert encouraging_loss(torch.zeros(0, 4), torch.zeros(0, 4)).item() == 0
    z = torch.tensor([[3.5]], requires_grad=True)
    loss = encouraging_loss(z, torch.ones(1, 1))
    loss.backward()
    assert loss.item() == z.grad.item() == 0


def test_mixup_of_two_targets_mixes_their_losses():
    z, _ = logits_and_probabilities(6, 5)
    first, second, share = torch.randint(5, (6,)), torch.randint(5, (6,)), 0.3
    q = share * F.one_hot(first, 5) + (1 - share) * F.one_hot(second, 5)
    for options in BONUS_OPTIONS:
        mixed = share * encouraging_loss(z, first, **options)
        mixed = mixed + (1 - share) * encouraging_loss(z, second, **options)
        torch.testing.assert_close(encouraging_loss(z, q, **options), mixed, check_dtype=False)


def test_under_compile_as_one_graph(full_graph):
    z, q = logits_and_probabilities(6, 10, dtype=torch.float32)
    losses = [f(z, q, label_smoothing=0.1) for f in (full_graph(encouraging_loss), encouraging_loss)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*[torch.autograd.grad(loss, (z, q)) for loss in losses])


def test_under_vmap():
    z, q = logits_and_probabilities(4, 5, 3)
    z, q = z.transpose(1, 2), q.transpose(1, 2)
    mapped = torch.func.vmap(encouraging_loss)(z, q)
    torch.testing.assert_close(mapped, torch.stack([encouraging_loss(*pair) for pair in zip(z, q)]))


@pytest.mark.parametrize("needs_grad", [(True, False), (False, True)])
def test_only_the_needed_gradients_are_computed(needs_grad):
    both = logits_and_probabilities(6, 5)
    inputs = [x.detach().requires_grad_(needed) for x, needed in zip(both, needs_grad)]
    encouraging_loss(*inputs, label_smoothing=0.1).backward()
    expected = torch.autograd.grad(encouraging_loss(*both, label_smoothing=0.1), both)
    for x, needed, gradient in zip(inputs, needs_grad, expected):
        assert (x.grad is not None) == needed
        assert x.grad is None or torch.equal(x.grad, gradient)


def test_backward_twice_gives_the_same_gradients():
    inputs = logits_and_probabilities(6, 5)
    loss = encouraging_loss(*inputs)
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), first, rtol=0, atol=0)


def test_second_derivatives_are_refused_where_there_are_none():
    z, q = logits_and_probabilities(3, 4)
    with use("chunks"):
        (gradient,) = torch.autograd.grad(encouraging_loss(z, q), z, create_graph=True)
        with pytest.raises(RuntimeError, match="differentiable once"):
            gradient.sum().backward()


@pytest.mark.parametrize("options", BONUS_OPTIONS[::3], ids=str)
def test_chunks_and_large_vocabularies_agree_with_the_formula(options, monkeypatch):
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, "chunks", 100)
    inputs = logits_and_probabilities(7, 43)
    options = {**options, "label_smoothing": 0.1, "weight": torch.linspace(0.5, 2, 43, dtype=torch.float64)}
    with use("formula"):
        expected = encouraging_loss(*inputs, **options)
    with use("chunks"):
        loss = encouraging_loss(*inputs, **options)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs))


def test_module_takes_both_kinds_of_target():
    z, q = logits_and_probabilities(6, 5)
    loss = EncouragingLoss(label_smoothing=0.1)
    assert torch.equal(loss(z, q), encouraging_loss(z, q, label_smoothing=0.1))
    assert torch.equal(loss(z, q.argmax(1)), encouraging_loss(z, q.argmax(1), label_smoothing=0.1))
