"""Encouraging loss and its linear form on any input: against float64, shifted, permuted, padded, split."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from el_plugins.losses import encouraging_loss, linear_encouraging_loss
from tests.losses.drawn import TOLERANCE, drawn, layouts

BONUSES = {
    "log": {
        "log_end": st.sampled_from([0.0, 0.5, 0.75, 1.0]),
        "bonus_eps": st.sampled_from([0.0, 1e-5, 0.1]),
    },
    "aggressive": {
        "bonus_start": st.sampled_from([None, 0.2, 0.7]),
        "bonus_eps": st.sampled_from([1e-5, 0.1]),
    },
    "power": {
        "bonus_start": st.sampled_from([None, 0.3]),
        "bonus_exponent": st.sampled_from([0.5, 2.0, 3.0]),
    },
    "cosine": {},
    "none": {},
}


@st.composite
def options(draw):
    """Arguments of the loss beside logits, targets and reduction."""
    bonus = draw(st.sampled_from(sorted(BONUSES)))
    own = {name: draw(values) for name, values in BONUSES[bonus].items()}
    smoothing = {
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
        "smoothing": draw(st.sampled_from(["uniform", "fairseq"])),
    }
    return {"bonus": bonus, "bonus_weight": draw(st.sampled_from([0.5, 1.0])), **own, **smoothing}


def naive(z, target, *, bonus, bonus_weight, label_smoothing, smoothing, **own):
    """The formula in float64, each term as it is written; moderate logits lose nothing by that."""
    z = z.double()
    classes = z.size(1)
    log_p = z.log_softmax(1)
    p = log_p.exp()
    rest = p @ (1 - torch.eye(classes, dtype=torch.float64))  # 1 - p without a difference
    bounded = rest.clamp(min=own.get("bonus_eps", 0)).log()
    if bonus == "log":
        end = own["log_end"]
        line = torch.zeros_like(p) if end == 1 else math.log1p(-end) - (p - end) / (1 - end)
        b = torch.where(p <= end, bounded, line)
    elif bonus == "aggressive":
        start = 0.5 if own["bonus_start"] is None else own["bonus_start"]
        b = torch.where(p > start, bounded - math.log1p(-start), 0.0)
    elif bonus == "power":
        start, k = own["bonus_start"] or 0.0, own["bonus_exponent"]
        b = torch.where(p > start, start**k - p**k, 0.0)
    else:
        b = (torch.pi * p).cos() - 1 if bonus == "cosine" else torch.zeros_like(p)
    one_hot = torch.nn.functional.one_hot(target, classes).double()
    if smoothing == "uniform":
        q = (1 - label_smoothing) * one_hot + label_smoothing / classes
    else:
        q = (1 - label_smoothing) * one_hot + label_smoothing / (classes - 1) * (1 - one_hot)
    return (q * (bonus_weight * b - log_p)).sum(1)


def total(logits, target, **options):
    return encouraging_loss(logits, target, reduction="sum", **options)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(2, 12)),
    seed=st.integers(0, 2**20),
    options=options(),
    data=st.data(),
)
def test_float64_in_any_layout(shape, seed, options, data):
    dtype = data.draw(st.sampled_from(list(TOLERANCE)))
    logits, target = drawn(shape, seed, dtype)
    exact = logits.double().requires_grad_()
    expected = naive(exact, target, **options)
    (gradient,) = torch.autograd.grad(expected.sum(), exact)
    z = data.draw(layouts(logits)).requires_grad_()
    losses = encouraging_loss(z, target, reduction="none", **options)
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    value, slope = TOLERANCE[dtype]
    torch.testing.assert_close(losses.double(), expected, rtol=value, atol=value)
    (found,) = torch.autograd.grad(losses.sum(), z)
    torch.testing.assert_close(found.double(), gradient, rtol=slope, atol=slope)


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(2, 9)),
    seed=st.integers(0, 2**20),
    options=options(),
    data=st.data(),
)
def test_what_changes_nothing(shape, seed, options, data):
    logits, target = drawn(shape, seed, torch.float64)
    expected = total(logits, target, **options)
    shift = torch.full((shape[0], 1), data.draw(st.floats(-1e3, 1e3)), dtype=torch.float64)
    torch.testing.assert_close(total(logits + shift, target, **options), expected, rtol=1e-9, atol=1e-9)
    order = torch.randperm(shape[1])
    torch.testing.assert_close(total(logits[:, order], order.argsort()[target], **options), expected)
    at = data.draw(st.integers(0, shape[0]))
    parts = total(logits[:at], target[:at], **options) + total(logits[at:], target[at:], **options)
    torch.testing.assert_close(parts, expected)
    padding = torch.full((1, shape[1]), torch.nan, dtype=torch.float64)
    padded = torch.cat([logits[:at], padding, logits[at:]]).requires_grad_()
    labels = torch.cat([target[:at], torch.tensor([-100]), target[at:]])
    loss = total(padded, labels, **options)
    torch.testing.assert_close(loss, expected)
    assert not torch.autograd.grad(loss, padded)[0][at].any()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(2, 12)),
    width=st.integers(1, 8),
    seed=st.integers(0, 2**20),
    options=options(),
)
def test_the_linear_form_is_the_loss_of_its_logits(shape, width, seed, options):
    _, target = drawn(shape, seed, torch.float64)
    tensors = [torch.randn(shape[0], width), torch.randn(shape[1], width), torch.randn(shape[1])]
    hidden, matrix, bias = [value.double().requires_grad_() for value in tensors]
    found = linear_encouraging_loss(hidden, matrix, target, linear_bias=bias, **options)
    expected = encouraging_loss(hidden @ matrix.T + bias, target, **options)
    torch.testing.assert_close(found, expected)
    inputs = (hidden, matrix, bias)
    for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs)):
        torch.testing.assert_close(one, other)
