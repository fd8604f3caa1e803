"""Losses and gradient in one pass of compiled code against the formula in float64."""

import pytest
import torch

from el_plugins.losses import dispatch, encouraging_loss
from el_plugins.losses.kernels import compile_cache, softmax_fused, use
from el_plugins.losses.kernels.chunks import CHUNK_ELEMENTS
from tests.losses.kernels.comparisons import SETTINGS
from tests.marks import long

pytestmark = pytest.mark.skipif(not dispatch.COMPILES_ONE_PASS, reason="two passes with this torch")
WEIGHTED = {"label_smoothing": 0.1, "weight": torch.linspace(0.5, 1.5, 37)}


def case(count=40, classes=37):
    """Rows that are ignored, certain, so certain that the other exponentials vanish, and tied."""
    generator = torch.Generator().manual_seed(classes)
    z = 4 * torch.randn(count, classes, generator=generator)
    target = torch.randint(classes, (count,), generator=generator)
    z[5], target[5] = float("nan"), -100
    z[7, target[7]] = 60.0
    z[8, target[8]] = z[10, 3] = 1000.0
    z[9, [3, int(target[9]), 11]] = 30.0
    return z, target


def results(z, target, path, inplace=False, **options):
    leaf = z.detach().requires_grad_()
    with use(path):
        loss = encouraging_loss(leaf * 1 if inplace else leaf, target, inplace=inplace, **options)
    return loss.double(), torch.autograd.grad(loss.sum(), leaf)[0].double()


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the logits that were computed in one pass."""
    shapes, function = [], softmax_fused.losses_and_gradient

    def counting(logits, *arguments):
        shapes.append(tuple(logits.shape))
        return function(logits, *arguments)

    monkeypatch.setattr(softmax_fused, "losses_and_gradient", counting)
    return shapes


@pytest.mark.parametrize("options", [*SETTINGS[:2], *long(SETTINGS[2]), WEIGHTED], ids=str)
def test_equals_the_formula(options, no_fallback, calls):
    z, target = case()
    exact_options = {name: x.double() if name == "weight" else x for name, x in options.items()}
    for reduction in ("sum", "mean"):
        exact = results(z.double(), target, "formula", reduction=reduction, **exact_options)
        for inplace in (False, True):
            actual = results(z, target, "compiled", inplace, reduction=reduction, **options)
            torch.testing.assert_close(actual, exact, rtol=2e-6, atol=1e-6)
    assert calls == [(1, 40, 37)] * 4


@pytest.mark.parametrize("reduction", ["sum", *long("none")])
def test_several_chunks_after_one(reduction, monkeypatch, recwarn):
    # torch's compiler has confused chunks that were views of one storage, and refused a last one of a row.
    torch.compiler.reset()
    monkeypatch.setitem(CHUNK_ELEMENTS, "compiled", 3 * 37)
    z, target = case()
    for rows in (slice(11, 14), slice(11, 12), slice(0, 40)):
        exact = results(z[rows].double(), target[rows], "formula", reduction=reduction)
        for inplace in (True, False):
            actual = results(z[rows], target[rows], "compiled", inplace, reduction=reduction)
            torch.testing.assert_close(actual, exact, rtol=2e-6, atol=1e-6)
    assert "computed by plain torch operations" not in "".join(str(one.message) for one in recwarn)


def test_layouts_dtypes_and_nothing(no_fallback, calls):
    z, target = case(48)
    images = z.view(2, 24, 37).transpose(1, 2)  # (N, C, d)
    for logits, labels in (
        (images, target.view(2, 24)),
        (z.t().contiguous().t(), target),
        (z[:0], target[:0]),
    ):
        for inplace in (False, True):
            exact = results(logits.double(), labels, "formula")
            torch.testing.assert_close(
                results(logits, labels, "compiled", inplace), exact, rtol=2e-6, atol=1e-6
            )
    narrow = z.bfloat16()
    exact = results(narrow.double(), target, "formula", reduction="sum")
    actual = results(narrow, target, "compiled", reduction="sum")
    torch.testing.assert_close(actual[0], exact[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual[1], exact[1], rtol=2**-8, atol=1e-6)
    assert len(calls) == 7
    for dtype in (torch.float16, torch.float64):  # computed from the logits in backward
        results(z.to(dtype), target, "compiled")
    assert len(calls) == 7


@pytest.mark.parametrize("inplace", [False, True])
def test_nothing_divided_by_nothing_has_no_gradient(inplace, no_fallback, calls):
    z, target = case()
    leaf = z.requires_grad_()
    with use("compiled"):
        total = encouraging_loss(leaf * 1, target.fill_(-100), reduction="sum", inplace=inplace)
    (total / torch.tensor(0)).backward()
    assert len(calls) == 1
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


def test_a_second_backward_and_an_upstream_gradient(no_fallback):
    z, target = case()
    leaf = z.requires_grad_()
    with use("compiled"):
        loss = encouraging_loss(leaf, target, log_end=0.5, reduction="sum")
    first = torch.autograd.grad(3 * loss, leaf, retain_graph=True)[0]
    second = torch.autograd.grad(loss, leaf)[0]
    torch.testing.assert_close(first, 3 * second)
    torch.testing.assert_close(
        second.double(), results(z, target, "formula", log_end=0.5, reduction="sum")[1], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64, "meta"])
def test_torch_defaults_do_not_matter(default, monkeypatch):
    """Neither the dtype nor the device that torch gives to new tensors; plain operations tell as well."""
    monkeypatch.setattr(softmax_fused, "compiled", lambda function: function)
    z, target = case()
    expected = results(z, target, "compiled", label_smoothing=0.1)
    before = torch.get_default_dtype()
    try:
        if isinstance(default, torch.dtype):
            torch.set_default_dtype(default)
        with torch.device(default if default == "meta" else "cpu"):
            actual = results(z, target, "compiled", label_smoothing=0.1)
    finally:
        torch.set_default_dtype(before)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_more_vocabularies_than_are_compiled(monkeypatch, no_fallback):
    monkeypatch.setattr(compile_cache, "MAX_SETTINGS", 1)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    for classes in (37, 41):
        z, target = case(classes=classes)
        exact = results(z.double(), target, "formula", reduction="sum")
        actual = results(z, target, "compiled", reduction="sum")
        torch.testing.assert_close(actual, exact, rtol=2e-6, atol=1e-6)
    assert graphs["unique_graphs"] == before + 1
