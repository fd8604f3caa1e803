"""The autograd node of halted focal loss: what it saves, and which derivatives it supports."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.losses.kernels import use
from el_plugins.losses.kernels.focal_eager import log1p

ONCE = "differentiable once: for second derivatives"
TARGETS = {
    "classes": torch.tensor([0, -1, 3, 2]),
    "soft": torch.tensor([[0.0, 0.3, 1.0], [0.5, 0.1, 0.9], [0.2, 1.0, 0.0], [0.7, 0.6, 0.4]]),
    "bool": torch.tensor([[True, False, True]]).expand(4, 3),
}


@pytest.fixture(params=["classes", "soft", "bool"])
def targets(request):
    return TARGETS[request.param]


@pytest.fixture
def chunks():
    with use("chunks"):
        yield


def logits():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, generator=generator, dtype=torch.float64)


class Allocations(TorchDispatchMode):
    """The size of the largest new tensor, in elements; views of ``known`` are not new."""

    def __init__(self, known):
        super().__init__()
        self.known = {x.untyped_storage().data_ptr() for x in known}
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        for x in tree_flatten(outputs)[0]:
            if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in self.known:
                self.largest = max(self.largest, x.untyped_storage().nbytes() // x.element_size())
        return outputs


@pytest.mark.parametrize("needs_gradient", [False, True])
def test_forward_allocates_nothing_of_the_logits_size(chunks, needs_gradient):
    x, labels = torch.randn(2**14, 80, requires_grad=needs_gradient), torch.zeros(2**14, dtype=torch.long)
    with Allocations([x, labels]) as new:
        sigmoid_halted_focal_loss(x, labels, reduction="sum")
    assert new.largest <= 2**18


def test_backward_allocates_one_gradient(chunks):
    x = torch.randn(2**14, 80).half().requires_grad_()
    labels = torch.zeros(2**14, dtype=torch.long)
    loss = sigmoid_halted_focal_loss(x, labels, reduction="sum")
    with Allocations([]) as new:
        (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.dtype == torch.float16
    assert new.largest == x.numel()


def test_what_is_saved_goes_through_the_hooks_of_saved_tensors(chunks, targets):
    saved = []
    x = logits().requires_grad_()

    def pack(tensor):
        saved.append(tensor.shape)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = sigmoid_halted_focal_loss(x, targets, reduction="sum")
    assert sorted(saved) == sorted([x.shape, targets.shape])
    with use("formula"):
        expected = sigmoid_halted_focal_loss(x, targets, reduction="sum")
    torch.testing.assert_close(torch.autograd.grad(loss, x), torch.autograd.grad(expected, x))


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_backward_twice_is_twice_the_same(chunks, targets, reduction):
    x = logits().requires_grad_()
    loss = sigmoid_halted_focal_loss(x, targets, reduction=reduction)
    grad_output = torch.rand_like(loss)
    first, second = (torch.autograd.grad(loss, x, grad_output, retain_graph=True)[0] for _ in range(2))
    third = torch.autograd.grad(loss, x, 3 * grad_output)[0]
    assert torch.equal(first, second)
    torch.testing.assert_close(third, 3 * first)


def test_logits_changed_after_forward_are_detected(chunks, targets):
    x = logits().requires_grad_() * 1
    loss = sigmoid_halted_focal_loss(x, targets, reduction="sum")
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_derivatives_are_refused(chunks, targets):
    x = logits().requires_grad_()
    loss = sigmoid_halted_focal_loss(x, targets, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    torch.testing.assert_close((gradient,), torch.autograd.grad(loss, x, retain_graph=True))
    with pytest.raises(RuntimeError, match=ONCE):
        (gradient**2).sum().backward()
    with pytest.raises(RuntimeError, match=ONCE):
        torch.func.hessian(lambda x: sigmoid_halted_focal_loss(x, targets, reduction="sum"))(x.detach())


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("transform", ["grad", "jacrev", "jacfwd", "vmap", "vmap grad", "grad vmap"])
def test_transforms_of_torch_func_are_those_of_the_formula(transform, targets, reduction):
    def loss(x, t):
        return sigmoid_halted_focal_loss(x, t, 0.25, 2.0, reduction)

    def total(x, t):
        return loss(x, t).sum()

    vmap, grad = torch.func.vmap, torch.func.grad
    of = {
        "grad": grad(total),
        "jacrev": torch.func.jacrev(loss),
        "jacfwd": torch.func.jacfwd(loss),
        "vmap": vmap(loss),
        "vmap grad": vmap(grad(total)),
        "grad vmap": grad(lambda x, t: vmap(loss)(x, t).sum()),
    }[transform]
    actual = {}
    for path in ("formula", "chunks"):
        with use(path):
            actual[path] = of(logits(), targets)
    torch.testing.assert_close(actual["chunks"], actual["formula"])


def test_vmap_over_another_dimension_and_over_one_argument(chunks, targets):
    x = torch.stack([logits(), 2 * logits()], dim=2)
    for reduction in ("none", "sum"):
        actual = torch.func.vmap(
            lambda x, reduction=reduction: sigmoid_halted_focal_loss(x, targets, reduction=reduction),
            in_dims=2,
        )(x)
        each = [sigmoid_halted_focal_loss(part, targets, reduction=reduction) for part in x.unbind(2)]
        torch.testing.assert_close(actual, torch.stack(each))


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_forward_mode(chunks, targets, reduction):
    x, tangent = logits().bfloat16(), torch.ones(4, 3).bfloat16()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        loss = sigmoid_halted_focal_loss(dual, targets, reduction=reduction)
        actual = torch.autograd.forward_ad.unpack_dual(loss).tangent
    leaf = x.float().requires_grad_()
    (expected,) = torch.autograd.grad(sigmoid_halted_focal_loss(leaf, targets, reduction="sum"), leaf)
    torch.testing.assert_close(actual, expected if reduction == "none" else expected.sum())


@pytest.mark.parametrize("both", [False, True])
def test_forward_mode_by_the_targets_is_the_formulas(both):
    t = TARGETS["soft"].double()

    def jvp():
        if both:
            return torch.func.jvp(sigmoid_halted_focal_loss, (logits(), t), (logits(), t))[1]
        return torch.func.jvp(lambda t: sigmoid_halted_focal_loss(logits(), t), (t,), (t,))[1]

    with (
        use("chunks"),
        pytest.raises(RuntimeError, match=r"no forward-mode derivative by targets.*use\('formula'\)"),
    ):
        jvp()
    with use("formula"):
        yes, no = (sigmoid_halted_focal_loss(logits(), torch.full_like(t, label)) for label in (1, 0))
        slope = torch.func.grad(lambda x: sigmoid_halted_focal_loss(x, t, reduction="sum"))(logits())
        torch.testing.assert_close(jvp(), t * (yes - no) + (slope * logits() if both else 0))


@pytest.mark.skipif(not hasattr(torch._C._functorch, "is_legacy_batchedtensor"), reason="not distinguishable")
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_batches_of_gradients(chunks, targets, reduction):
    x = logits().requires_grad_()
    loss = sigmoid_halted_focal_loss(x, targets, reduction=reduction)
    batch = torch.rand(3, *loss.shape, dtype=loss.dtype)
    (actual,) = torch.autograd.grad(loss, x, batch, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(loss, x, one, retain_graph=True)[0] for one in batch]
    torch.testing.assert_close(actual, torch.stack(each))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2.5e-7), (torch.float64, 5e-16)])
def test_log1p_keeps_its_digits(dtype, tolerance):
    small = torch.cat([torch.logspace(-37, 0, 20001, dtype=torch.float64), torch.zeros(1)]).to(dtype)
    torch.testing.assert_close(log1p(small).double(), small.double().log1p(), rtol=tolerance, atol=0)
