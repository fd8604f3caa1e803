"""The kernels under torch.func and forward mode: as the formula, or refused by name."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import encouraging_loss, linear_encouraging_loss
from el_plugins.losses.kernels import use

ONCE = r"differentiable once.*use\('formula'\)"
TARGET = torch.tensor([0, 3, -100, 2])
SETTINGS = [
    {},
    {"log_end": 1.0, "bonus_eps": 0.0, "label_smoothing": 0.1},
    {"weight": torch.linspace(0.5, 2, 5).double(), "label_smoothing": 0.1},
]


def logits():
    torch.manual_seed(0)
    return torch.randn(4, 5, dtype=torch.float64)


def by_rows(reduction, **options):
    return (lambda z: encouraging_loss(z, TARGET, reduction=reduction, **options)), logits()


def by_layer(reduction, **options):
    hidden = logits()[:, :3]

    def loss(matrix):
        return linear_encouraging_loss(hidden, matrix, TARGET, reduction=reduction, **options)

    return loss, torch.randn(5, 3, dtype=torch.float64)


@pytest.fixture(params=[by_rows, by_layer])
def form(request):
    """The loss of logits, or of a layer's matrix: a function and where to differentiate it."""
    return request.param


def assert_as_the_formula(transform, loss, x):
    with use("formula"):
        expected = transform(loss)(x)
    for path in ("auto", "chunks"):
        with use(path):
            torch.testing.assert_close(transform(loss)(x), expected)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_grad_and_jacrev(form, options):
    assert_as_the_formula(torch.func.grad, *form("mean", **options))
    assert_as_the_formula(torch.func.grad_and_value, *form("sum", **options))
    assert_as_the_formula(torch.func.jacrev, *form("none", **options))


def test_grad_of_plain_cross_entropy_of_a_layer():
    assert_as_the_formula(torch.func.grad, *by_layer("mean", bonus="none"))


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_vmap_and_gradients_of_each_sample(options):
    z, target = torch.randn(3, 4, 5, dtype=torch.float64), torch.randint(5, (3, 4))
    hidden, matrix = torch.randn(3, 4, 2, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    matrix = matrix.requires_grad_()

    def of_logits(z, t):
        return encouraging_loss(z, t, **options)

    def of_layer(matrix, h, t):
        return linear_encouraging_loss(h, matrix, t, **options)

    with use("chunks"):
        actual = torch.func.vmap(of_logits, (1, 0))(z.transpose(0, 1), target)
        each = torch.func.vmap(torch.func.grad(of_logits))(z, target)
        layers = torch.func.vmap(torch.func.grad(of_layer), (None, 0, 0))(matrix, hidden, target)
    with use("formula"):
        for number, (rows, t) in enumerate(zip(z, target)):
            leaf = rows.clone().requires_grad_()
            loss = of_logits(leaf, t)
            torch.testing.assert_close(actual[number], loss)
            torch.testing.assert_close(each[number], torch.autograd.grad(loss, leaf)[0])
            loss = of_logits(F.linear(hidden[number], matrix), t)
            torch.testing.assert_close(layers[number], torch.autograd.grad(loss, matrix)[0])


def test_in_place_is_ignored_under_a_transform():
    z = logits()
    before = z.clone()
    with use("chunks"):
        gradient = torch.func.grad(lambda z: encouraging_loss(z * 1, TARGET, inplace=True))(z)
        expected = torch.func.grad(lambda z: encouraging_loss(z, TARGET))(z)
    assert torch.equal(z, before)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_what_needs_a_second_derivative_is_refused(form, reduction):
    function, x = form(reduction)

    def squared(x):
        return (torch.func.grad(lambda x: function(x).sum())(x) ** 2).sum()

    with use("chunks"):
        with pytest.raises(RuntimeError, match=ONCE):
            torch.func.grad(squared)(x)
        with pytest.raises(RuntimeError, match=ONCE):
            torch.autograd.functional.hessian(lambda x: function(x).sum(), x)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_forward_mode_is_refused(form, reduction):
    function, x = form(reduction)
    with use("chunks"):
        for transform in (
            lambda: torch.func.jvp(function, (x,), (x,)),
            lambda: torch.func.jacfwd(function)(x),
            lambda: torch.func.hessian(lambda x: function(x).sum())(x),
        ):
            with pytest.raises(RuntimeError, match=r"no forward-mode derivatives.*use\('formula'\)"):
                transform()
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x.requires_grad_(), torch.ones_like(x))
            with pytest.raises(RuntimeError, match="no forward-mode derivatives"):
                function(dual)


@pytest.mark.skipif(not hasattr(torch._C._functorch, "is_legacy_batchedtensor"), reason="not distinguishable")
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_batches_of_gradients_are_refused(form, reduction):
    function, x = form(reduction)
    with use("chunks"):
        loss = function(x.requires_grad_())
        batch = torch.ones(3, *loss.shape, dtype=loss.dtype)
        with pytest.raises(RuntimeError, match=r"no is_grads_batched.*torch\.func\.jacrev"):
            torch.autograd.grad(loss, x, batch, is_grads_batched=True)
