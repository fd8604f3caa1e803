"""The elementwise losses and mirror MSE, properties of any input: against float64, permuted, split."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from el_plugins.losses import binary_encouraging_loss_with_logits, mirror_mse_loss, sigmoid_halted_focal_loss
from tests.losses.drawn import TOLERANCE, drawn, layouts

SHAPES = st.tuples(st.integers(1, 9), st.integers(2, 12))
SEEDS = st.integers(0, 2**20)


def focal(x, t, *, alpha, gamma, halt, halt_threshold):
    """The table of halted focal loss, in float64."""
    p = x.double().sigmoid()
    q = (-x.double()).sigmoid()
    p_t, missing = torch.where(t, p, q), torch.where(t, q, p)
    weight = 1.0 if alpha < 0 else torch.where(t, alpha, 1 - alpha)
    loss = -(missing**gamma) * p_t.log()

    def shift(phi):
        return ((1 - phi) ** gamma - 1) * torch.tensor(phi, dtype=torch.float64).log()

    phi = halt_threshold
    if phi < 1:
        halted = {"foreground": t & (p_t > phi), "both": p_t > phi, "authors": p > phi}[halt]
        own = torch.where(t, shift(phi), shift(1 - phi)) if halt == "authors" else shift(phi)
        loss = torch.where(halted, -(p_t.log() + own), loss)
    return weight * loss


def binary(x, t, *, log_end, bonus_eps):
    """-log p_t + b(p_t), in float64."""
    signed = torch.where(t, x.double(), -x.double())
    p, rest = signed.sigmoid(), (-signed).sigmoid()
    b = rest.clamp(min=bonus_eps).log()
    if log_end < 1:
        log_rest = torch.log1p(torch.tensor(-log_end, dtype=torch.float64))
        b = torch.where(p <= log_end, b, log_rest - (p - log_end) / (1 - log_end))
    return b - p.log()


def check(loss, expected, logits, layout):
    """Compare values and gradients, in the dtype and layout drawn, with those in float64."""
    exact = logits.double().requires_grad_()
    wanted = expected(exact)
    (gradient,) = torch.autograd.grad(wanted.sum(), exact)
    x = layout.requires_grad_()
    found = loss(x)
    value, slope = TOLERANCE[logits.dtype]
    torch.testing.assert_close(found.double(), wanted, rtol=value, atol=value)
    (own,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(own.double(), gradient, rtol=slope, atol=slope)


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_halted_focal_loss(shape, seed, data):
    logits, target = drawn(shape, seed, data.draw(st.sampled_from(list(TOLERANCE))))
    options = {
        "alpha": data.draw(st.sampled_from([-1.0, 0.25, 0.5])),
        "gamma": data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
        "halt": data.draw(st.sampled_from(["foreground", "both", "authors"])),
        "halt_threshold": data.draw(st.sampled_from([0.3, 0.5, 1.0])),
    }
    dense = torch.nn.functional.one_hot(target, shape[1]).bool()
    for targets in (dense, target):  # class indices and dense targets mean the same
        layout = data.draw(layouts(logits))
        check(
            lambda x, targets=targets: sigmoid_halted_focal_loss(x, targets, **options),
            lambda x: focal(x, dense, **options),
            logits,
            layout,
        )


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_binary_form(shape, seed, data):
    logits, _ = drawn(shape, seed, data.draw(st.sampled_from(list(TOLERANCE))))
    target = torch.rand(shape) < 0.3
    options = {
        "log_end": data.draw(st.sampled_from([0.0, 0.5, 0.75, 1.0])),
        "bonus_eps": data.draw(st.sampled_from([0.0, 1e-5, 0.1])),
    }

    def loss(x):
        return binary_encouraging_loss_with_logits(x, target.to(x.dtype), reduction="none", **options)

    check(loss, lambda x: binary(x, target, **options), logits, data.draw(layouts(logits)))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_mirror_mse(activation, shape, seed, data):
    logits, target = drawn(shape, seed, data.draw(st.sampled_from(list(TOLERANCE))))
    y = torch.nn.functional.one_hot(target, shape[1]).double()

    def expected(x):
        p = x.softmax(1) if activation == "softmax" else x.sigmoid()
        return ((y - p) ** 2 - (y * p) ** 2 - ((1 - y) * (1 - p)) ** 2).mean().reshape(1)

    def loss(x):
        return mirror_mse_loss(x, target, activation=activation).reshape(1)

    check(loss, expected, logits, data.draw(layouts(logits)))
    order = torch.randperm(shape[1])
    permuted = mirror_mse_loss(logits[:, order], order.argsort()[target], activation=activation)
    torch.testing.assert_close(permuted, mirror_mse_loss(logits, target, activation=activation))
