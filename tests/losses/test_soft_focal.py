"""Halted focal loss of soft targets, the mixture of its two labels, and of invalid targets."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import sigmoid_halted_focal_loss
from tests.losses.oracle import halted_focal

pytestmark = pytest.mark.usefixtures("path")

HALTS = ("foreground", "both", "authors")


def by_hand(x, t, alpha, gamma, halt, phi):
    """t L(1) + (1-t) L(0), differentiable, but inaccurate for large logits."""
    p = x.sigmoid()
    mixture = 0
    for label, p_t, share in ((1, p, t), (0, 1 - p, 1 - t)):
        at = phi if label or halt == "both" else 1 - phi  # p_t at the boundary
        halted = {"foreground": (p > phi) & bool(label), "both": p_t > phi, "authors": p > phi}[halt]
        loss = -((1 - p_t) ** gamma) * p_t.log()
        if phi < 1:
            loss = torch.where(halted, -p_t.log() + (1 - (1 - at) ** gamma) * torch.tensor(at).log(), loss)
        alpha_t = 1 if alpha < 0 else (alpha if label else 1 - alpha)
        mixture = mixture + share * alpha_t * loss
    return mixture


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_equals_fifty_digits(halt, dtype, tolerance):
    logits, soft = (-200.0, -3.0, 0.25, 2.5, 200.0), (0.0, 0.125, 0.5, 1.0)
    x, t = (torch.tensor(column, dtype=dtype) for column in zip(*itertools.product(logits, soft)))
    for alpha, gamma, phi in itertools.product((-1.0, 0.25), (0.0, 0.5, 2.0), (0.3, 0.5, 1.0)):
        actual = sigmoid_halted_focal_loss(x, t, alpha, gamma, halt=halt, halt_threshold=phi)
        expected = [
            share * halted_focal(logit, 1, alpha, gamma, halt, phi)
            + (1 - share) * halted_focal(logit, 0, alpha, gamma, halt, phi)
            for logit, share in zip(x.tolist(), t.tolist())
        ]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("phi", [0.3, 0.5, 1.0])
def test_gradients_are_those_of_the_definition(halt, gamma, phi):
    generator = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(60, generator=generator, dtype=torch.float64)).requires_grad_()
    t, grad_output = torch.rand(2, 60, generator=generator, dtype=torch.float64)
    for alpha in (-1.0, 0.25):
        actual = sigmoid_halted_focal_loss(x, t, alpha, gamma, halt=halt, halt_threshold=phi)
        expected = by_hand(x, t, alpha, gamma, halt, phi)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)  # a float32 logarithm by hand
        torch.testing.assert_close(
            *(torch.autograd.grad(loss, x, grad_output, retain_graph=True) for loss in (actual, expected))
        )


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_floating_zeros_and_ones_are_labels(reduction):
    x = torch.linspace(-100, 100, 60).view(20, 3).requires_grad_()
    t = torch.arange(60).view(20, 3) % 2
    losses = [sigmoid_halted_focal_loss(x, kind, reduction=reduction) for kind in (t.float(), t, t.bool())]
    gradients = [torch.autograd.grad(loss.sum(), x)[0] for loss in losses]
    for loss, gradient in zip(losses[1:], gradients[1:]):
        assert torch.equal(loss, losses[0])
        assert torch.equal(gradient, gradients[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_of_the_targets_is_free(dtype):
    x, t = torch.randn(8, 3), torch.rand(8, 3).to(dtype)
    torch.testing.assert_close(sigmoid_halted_focal_loss(x, t), sigmoid_halted_focal_loss(x, t.float()))


def test_agrees_with_torch_where_the_definitions_meet():
    ops = pytest.importorskip("torchvision.ops")
    x, t = 3 * torch.randn(50), torch.rand(50)
    for alpha in (-1, 0.5):  # without focus: cross-entropy of the mixture
        actual = sigmoid_halted_focal_loss(x, t, alpha, 0.0, halt_threshold=1.0)
        torch.testing.assert_close(actual, ops.sigmoid_focal_loss(x, t, alpha, 0.0))
        bce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        torch.testing.assert_close(actual, bce * (0.5 if alpha > 0 else 1))
    labels = (t > 0.5).float()
    actual = sigmoid_halted_focal_loss(x, labels, 0.25, 2.0, halt_threshold=1.0)
    torch.testing.assert_close(actual, ops.sigmoid_focal_loss(x, labels, 0.25, 2.0))
    half = torch.full_like(x, 0.5)  # there p_t is 1/2 for every p: scaled cross-entropy
    theirs = ops.sigmoid_focal_loss(x, half, -1, 2.0)
    torch.testing.assert_close(theirs, F.binary_cross_entropy_with_logits(x, half, reduction="none") / 4)
    assert not torch.allclose(sigmoid_halted_focal_loss(x, half, -1, 2.0, halt_threshold=1.0), theirs)


def test_varifocal_loss_in_terms_of_it():
    x, t = 3 * torch.randn(50), torch.rand(50)
    t[::2] = 0
    p = x.sigmoid()
    factor = torch.where(t > 0, t, 0.75 * p**2)  # as its authors write it: alpha 0.75, gamma 2
    expected = factor * F.binary_cross_entropy_with_logits(x, t, reduction="none")
    objects = t * sigmoid_halted_focal_loss(x, t, -1, 0.0, halt_threshold=1.0)
    background = sigmoid_halted_focal_loss(x, t, 0.25, 2.0, halt_threshold=1.0)
    torch.testing.assert_close(torch.where(t > 0, objects, background), expected)


def test_targets_have_a_gradient():
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    t = torch.rand(20, dtype=torch.float64).requires_grad_()
    t.data[:2] = torch.tensor([0.0, 1.0])
    loss = sigmoid_halted_focal_loss(x, t, reduction="sum")
    slope, _ = torch.autograd.grad(loss, (t, x))
    yes, no = (sigmoid_halted_focal_loss(x, torch.full_like(x, label)) for label in (1, 0))
    torch.testing.assert_close(slope, yes - no)


DENSE = [-0.5, 0.5, 1.5, float("nan"), 1.0]
BROKEN = [True, False, True, True, False]


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize(
    ("targets", "broken"),
    [
        (torch.tensor(DENSE).expand(5, 5).t(), BROKEN),
        (torch.tensor([-1, 0, 2, 77, 1]).expand(5, 5).t(), BROKEN),
        (torch.tensor([6, 5, 77, 1000, -1]), BROKEN),  # class indices: 5 is background
    ],
    ids=["floating", "integers", "classes"],
)
def test_invalid_targets_are_nan_where_they_are_not_read(targets, broken, reduction):
    # Under vmap no value can be read.
    x = torch.randn(5, 5, requires_grad=True)
    loss = torch.func.vmap(lambda x, t: sigmoid_halted_focal_loss(x, t, reduction=reduction))(x, targets)
    loss.sum().backward()
    for values in (loss.view(5, -1), x.grad):
        assert torch.equal(values.isnan().all(dim=1), torch.tensor(broken))
        assert torch.equal(values.isnan().any(dim=1), torch.tensor(broken))


def test_invalid_targets_are_nan_in_a_compiled_graph(full_graph):
    loss = full_graph(sigmoid_halted_focal_loss)
    assert loss(torch.zeros(5), torch.tensor(DENSE)).isnan().tolist() == BROKEN
    assert loss(torch.zeros(3, 2), torch.tensor([2, 3, -1])).isnan().any(dim=1).tolist() == [
        False,
        True,
        False,
    ]


NARROW = [torch.int8, torch.int16, torch.int32, torch.uint8]
UNSIGNED = [getattr(torch, name) for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)]


@pytest.mark.parametrize("dtype", NARROW + UNSIGNED, ids=str)
@pytest.mark.parametrize("classes", [1, 5, 120, 200, 70000])
def test_class_indices_of_any_integer_dtype(classes, dtype):
    labels = torch.tensor([0, min(classes, 120), 1, 0])
    if dtype in NARROW[:3]:
        labels[2] = -1
    x = torch.randn(4, classes)
    actual = sigmoid_halted_focal_loss(x, labels.to(dtype), reduction="mean")
    torch.testing.assert_close(actual, sigmoid_halted_focal_loss(x, labels, reduction="mean"))
