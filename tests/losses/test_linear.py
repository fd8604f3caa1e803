"""The linear form against the loss of the logits, in value and gradients."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import encouraging_loss, linear_encouraging_loss
from el_plugins.losses.kernels import use
from tests.losses.linear_cases import layer

pytestmark = pytest.mark.usefixtures("small_chunks")

OPTIONS = [
    {},
    {"log_end": 1.0, "label_smoothing": 0.1, "smoothing": "fairseq"},
    {"log_end": 1.0, "bonus_eps": 0.3},
    {"bonus": "none"},
    {"bonus_weight": 0.0, "weight": torch.linspace(0.5, 2, 11)},
    {"bonus": "cosine", "label_smoothing": 0.1, "weight": torch.linspace(0.5, 2, 11)},
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_loss_of_the_logits(reduction, options, bias):
    hidden, matrix, offset, target = layer(shape=(5, 2), bias=bias)
    inputs = [x for x in (hidden, matrix, offset) if x is not None]
    actual = linear_encouraging_loss(
        hidden, matrix, target, linear_bias=offset, reduction=reduction, **options
    )
    with use("formula"):
        logits = F.linear(hidden, matrix, offset).flatten(0, 1)
        expected = encouraging_loss(logits, target.flatten(), reduction=reduction, **options)
    expected = expected.view(actual.shape)
    torch.testing.assert_close(actual, expected)
    grad_output = torch.randn(actual.shape, dtype=actual.dtype)
    gradients = [torch.autograd.grad(loss, inputs, grad_output) for loss in (actual, expected)]
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


@pytest.mark.parametrize("options", [{}, {"bonus": "none"}], ids=str)
def test_ignored_rows_are_zero(options):
    hidden, matrix, offset, target = layer()
    with torch.no_grad():
        offset[0] = -torch.inf  # excluded
    target[target == 0] = 1
    clean = linear_encouraging_loss(hidden, matrix, target, linear_bias=offset, **options)
    expected, wanted_of_matrix = torch.autograd.grad(clean, (hidden, matrix))
    spoiled = hidden.detach().clone()
    spoiled[4] = float("nan")
    spoiled.requires_grad_()
    loss = linear_encouraging_loss(spoiled, matrix, target, linear_bias=offset, **options)
    loss.backward()
    torch.testing.assert_close(loss, clean)
    torch.testing.assert_close(spoiled.grad[target >= 0], expected[target >= 0])
    torch.testing.assert_close(matrix.grad, wanted_of_matrix)


@pytest.mark.parametrize("bonus", ["log", "none"])
def test_nothing_left_and_no_rows(bonus):
    hidden, matrix, _, target = layer()
    loss = linear_encouraging_loss(hidden, matrix, torch.full_like(target, -100), bonus=bonus)
    loss.backward()
    assert loss.item() == hidden.grad.abs().max().item() == matrix.grad.abs().max().item() == 0
    assert linear_encouraging_loss(hidden[:0], matrix, target[:0], bonus=bonus).item() == 0
