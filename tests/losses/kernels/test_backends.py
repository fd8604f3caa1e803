"""Every implementation against the formula in float64: odd sizes, dtypes, layouts, and what each refuses."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from el_plugins.losses import EncouragingLoss, encouraging_loss, sigmoid_halted_focal_loss
from el_plugins.losses.kernels import backends, use

SETTINGS = [
    {"log_end": 0.5},
    {"log_end": 1.0, "label_smoothing": 0.1, "smoothing": "fairseq"},
    {"bonus": "power", "bonus_exponent": 0.5, "label_smoothing": 0.1},
]


def results(z, target, path="formula", upstream=None, **options):
    z = z.detach().requires_grad_()  # in its own layout
    with use(path):
        loss = encouraging_loss(z * 1 if options.get("inplace") else z, target, reduction="none", **options)
    loss.backward(torch.ones_like(loss) if upstream is None else upstream.to(loss.dtype))
    return loss.detach().double(), z.grad.double()


def assert_no_worse(z, target, path, constant=1e-6, **options):
    """Error against float64 at most 1.5 times the single-precision formula's own, plus ``constant``."""
    exact = results(z.double(), target, **options)
    plain = results(z.float(), target, **options)
    found = results(z, target, path, **options)
    for got, single, wanted in zip(found, plain, exact):
        scale = 1 + wanted.abs()
        error, allowed = ((got - wanted) / scale).abs().max(), ((single - wanted) / scale).abs().max()
        assert error <= 1.5 * allowed + constant


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, 423, 32000, 131071])
def test_chunks_at_odd_sizes(classes, options):
    generator = torch.Generator().manual_seed(classes)
    z = 4 * torch.randn(17, classes, generator=generator)
    target = torch.randint(classes, (17,), generator=generator)
    z[::3].scatter_(1, target[::3].unsqueeze(1), 30.0)  # well classified
    target[-1] = -100
    assert_no_worse(z, target, "chunks", **options)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_compiled(options, inplace, no_way_back):
    for count, classes in [(40, 37), (300, 4001)]:  # the second in more than one chunk
        z = 4 * torch.randn(count, classes)
        target = torch.randint(classes, (count,))
        target[5] = -100
        z[5] = float("nan")
        z[7, target[7]] = 60.0
        z[8, target[8]] = 1000.0  # the exponentials of all others vanish
        z[9, [3, target[9], 11]] = 30.0  # a tie
        upstream = torch.randn(count)
        exact = results(z.double(), target, upstream=upstream, **options)
        found = results(z, target, "compiled", upstream, inplace=inplace, **options)
        for got, wanted in zip(found, exact):
            torch.testing.assert_close(got, wanted, rtol=2e-5, atol=2e-6)


def test_compiled_code_is_of_the_settings_at_hand(no_way_back):
    # torch has run code made for one exponent with another.
    z, target = torch.randn(6, 5), torch.randint(5, (6,))
    for exponent in (2.0, 0.5, 3.0):
        options = {"bonus": "power", "bonus_exponent": exponent, "label_smoothing": 0.1}
        exact = results(z.double(), target, **options)
        torch.testing.assert_close(results(z, target, "compiled", **options), exact, rtol=1e-5, atol=1e-6)
    for gamma in (2.0, 0.5, 1.0, 1.5):
        found = {}
        for path in ("formula", "compiled"):
            with use(path):
                found[path] = sigmoid_halted_focal_loss(z, target, 0.25, gamma, halt="authors")
        torch.testing.assert_close(found["compiled"], found["formula"])


def test_compiled_halted_focal(no_way_back):
    x = 5 * torch.randn(50, 7)
    for targets in (torch.randint(-1, 8, (50,)), torch.rand(50, 7), torch.rand(50, 7) > 0.5):
        grown = []
        for path, dtype in {"formula": torch.float64, "compiled": torch.float32}.items():
            leaf = x.detach().to(dtype).requires_grad_()
            with use(path):
                sigmoid_halted_focal_loss(leaf, targets, 0.5, 1.0, "sum").backward()
            grown.append(leaf.grad.double())
        torch.testing.assert_close(grown[1], grown[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("p", [0.999, 0.999999])
def test_narrow_gradients_are_rounded_once(dtype, p):
    z = torch.tensor([[float(torch.logit(torch.tensor(p, dtype=torch.float64))), 0.0]]).to(dtype)
    target = torch.tensor([0])
    _, exact = results(z.double(), target, log_end=1.0, bonus_eps=0.0)
    _, found = results(z, target, "chunks", log_end=1.0, bonus_eps=0.0)
    assert torch.equal(found, exact.to(dtype).double())
    assert found[0, 0] == -1


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_any_layout_and_upstream(options):
    layouts = [torch.randn(6, 9).t(), torch.randn(9, 12)[:, ::2], torch.randn(2, 6, 3, 2)]
    for z in layouts:
        shape = z.shape[:1] + z.shape[2:]
        target, upstream = torch.randint(z.size(1), shape), torch.randn(shape)
        exact = results(z.double(), target, upstream=upstream, **options)
        found = results(z, target, "chunks", upstream, **options)
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


def test_all_ignored_rows_are_nothing():
    z = torch.full((5, 7), float("nan"), requires_grad=True)
    with use("chunks"):
        loss = encouraging_loss(z, torch.full((5,), -100))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(z.grad, torch.zeros(5, 7))


def test_second_derivatives_are_refused():
    z = torch.randn(4, 5, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    with use("chunks"):
        first = torch.autograd.grad(encouraging_loss(z, target), z, create_graph=True)[0]
        with pytest.raises(RuntimeError, match="differentiable once: for second derivatives"):
            first.sum().backward()


def test_two_backward_passes_are_right_or_refused():
    z = torch.randn(4, 5, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    with use("chunks"):
        loss = encouraging_loss(z, target)
        written = encouraging_loss(z * 1, target, inplace=True)
    first, second = (torch.autograd.grad(loss, z, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    torch.autograd.grad(written, z, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(written, z)


def test_logits_changed_after_forward_are_noticed():
    z = torch.randn(4, 5, requires_grad=True)
    logits = z * 1
    with use("chunks"):
        loss = encouraging_loss(logits, torch.tensor([0, 1, 2, 3]))
    logits.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_class_weights_are_constants():
    z, target, weight = torch.randn(3, 4, requires_grad=True), torch.tensor([0, 1, 2]), torch.ones(4)
    with use("chunks"):
        loss = encouraging_loss(z, target, weight, label_smoothing=0.1)
        with pytest.raises(ValueError, match="weight must not require a gradient"):
            encouraging_loss(z, target, torch.ones(4, requires_grad=True))
    weight.mul_(10)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("view", [False, True])
def test_in_place_overwrites_the_logits_with_their_gradient(view):
    x = torch.randn(8, 5, requires_grad=True)
    target = torch.tensor([0, 1, -100, 3])
    logits = 2 * x
    part = logits[2:6] if view else logits[:4]
    (expected,) = torch.autograd.grad(encouraging_loss(part, target), x, retain_graph=True)
    version = logits._version
    with use("chunks"):
        (gradient,) = torch.autograd.grad(EncouragingLoss(inplace=True)(part, target), x)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(2 * part.detach(), expected[2:6] if view else expected[:4])
    assert logits._version > version


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[1:], lambda x: x.view(2, 2, 5)[0]])
@pytest.mark.parametrize("path", ["formula", "chunks"])
def test_in_place_refuses_leaves_and_their_views(view, path):
    parameter = torch.nn.Parameter(torch.randn(4, 5))
    logits = view(parameter)
    target = torch.zeros(len(logits), dtype=torch.long)
    with use(path):
        with pytest.raises(
            RuntimeError, match="inplace=True would overwrite input with its gradient, but input"
        ):
            EncouragingLoss(inplace=True)(logits, target)
        with torch.no_grad():  # no backward, nothing to overwrite
            encouraging_loss(logits, target, inplace=True)
        encouraging_loss(view(parameter.detach()), target, inplace=True)
        encouraging_loss(view(parameter * 1), target, inplace=True).backward()


@pytest.mark.parametrize("spread_out", [lambda x: x.unfold(0, 5, 1), lambda x: x[:5].expand(3, 5)])
def test_in_place_leaves_logits_that_share_memory_alone(spread_out):
    found = []
    for inplace in (False, True):
        base = torch.arange(7.0).sin().requires_grad_()
        with use("chunks"):
            loss = encouraging_loss(spread_out(base * 1), torch.tensor([0, 1, 2]), inplace=inplace)
        found.append(torch.autograd.grad(loss, base)[0])
    assert torch.equal(*found)


def test_certain_rows_with_a_large_upstream_stay_finite():
    z = torch.tensor([[68.5, 0.0, 0.5], [29.0, 0.0, 0.5]])
    target, upstream = torch.tensor([0, 0]), torch.tensor([2.0**31, 2.0**31])
    options = {"log_end": 1.0, "bonus_eps": 0.0}
    exact = results(z.double(), target, upstream=upstream, **options)
    torch.testing.assert_close(results(z, target, "chunks", upstream, **options), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("path", ["formula", "chunks"])
def test_mixed_precision_training_step(path):
    torch.manual_seed(0)
    layer, x, target = torch.nn.Linear(6, 9), torch.randn(20, 6), torch.randint(9, (20,))
    with use(path), torch.autocast("cpu", torch.bfloat16):
        logits = layer(x)
        loss = encouraging_loss(logits, target)
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    _, wanted = results(logits, target, upstream=torch.full((20,), 1024 / 20))
    (found,) = torch.autograd.grad(1024 * loss, logits, retain_graph=True)  # as a scaler of losses does
    torch.testing.assert_close(found.double(), wanted, rtol=2**-7, atol=0)
    loss.backward()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.long
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_compiled_at_odd_sizes(options, no_way_back):
    for classes in (1, 2, 3, 423, 32000, 131071):
        z = 4 * torch.randn(17, classes)
        target = torch.randint(classes, (17,))
        z[::3].scatter_(1, target[::3].unsqueeze(1), 30.0)
        target[-1] = -100
        assert_no_worse(z, target, "compiled", **options)


def test_choice_of_path():
    small, large = torch.zeros(2, 3), torch.zeros(1, 1).expand(3000, 2000)
    assert backends.chosen(small) == "chunks"
    assert backends.chosen(large) == ("compiled" if backends.can_compile() else "chunks")
    with use("formula"):
        assert backends.chosen(large) == "formula"
        with use("chunks"):
            assert backends.chosen(large) == "chunks"
        assert backends.chosen(large) == "formula"
    with pytest.raises(ValueError, match=r"path must be one of auto, .* got 'fast'"), use("fast"):
        pass


def test_each_thread_chooses_for_itself():
    x = torch.zeros(2, 3)
    inside, leave = threading.Event(), threading.Event()

    def other():
        with use("formula"):
            inside.set()
            leave.wait(60)
            return backends.chosen(x)

    with ThreadPoolExecutor(1) as pool:
        with use("chunks"):
            there = pool.submit(other)
            inside.wait(60)
            assert backends.chosen(x) == "chunks"
        leave.set()
        assert there.result() == "formula"
    assert backends._chosen.get() == "auto"
    assert backends.is_free()


def test_backward_takes_the_path_of_forward():
    z = torch.randn(4, 5, requires_grad=True)
    with use("chunks"):
        loss = encouraging_loss(z, torch.tensor([0, 1, 2, 3]))
    with use("formula"):
        loss.backward()
    assert z.grad.isfinite().all()


def test_a_path_chosen_inside_a_compiled_function(full_graph):
    def loss(z, target):
        with use("chunks"):
            return encouraging_loss(z, target)

    z, target = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(full_graph(loss)(z, target), loss(z, target))
