"""How the linear form is called: tensor subclasses, the module, and errors."""

import re

import pytest
import torch

from el_plugins.losses import LinearEncouragingLoss, encouraging_loss, linear_encouraging_loss
from tests.losses.linear_cases import layer

pytestmark = pytest.mark.usefixtures("small_chunks")


class Wrapped(torch.Tensor):
    """A tensor whose elements are stored elsewhere, as in a DTensor or a quantised tensor."""

    @staticmethod
    def __new__(cls, shape):
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float64)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} of what is not here")


class Named(torch.Tensor):
    """A plain tensor by another name."""


class Shared(torch.nn.Parameter):
    """A subclass such as accelerate and others define."""


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
    for actual, expected in zip(*reversed(results)):
        torch.testing.assert_close(actual.as_subclass(torch.Tensor), expected)


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
        (
            {"target": torch.zeros(10, dtype=torch.complex64)},
            "target must be integer class indices of shape (10,)",
        ),
        ({"target": [0] * 10}, "target must be a torch.Tensor, got list"),
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
    expected = encouraging_loss(module.linear(hidden), target, torch.linspace(1, 2, 11), label_smoothing=0.1)
    torch.testing.assert_close(module(hidden, target), expected)
    assert set(module.state_dict()) == {"linear.weight", "linear.bias", "loss.weight"}
    with pytest.raises(ValueError, match="log_end must be"):
        LinearEncouragingLoss(6, 11, log_end=2.0)
    placed = LinearEncouragingLoss(6, 11, device="meta", dtype=torch.bfloat16)
    assert (placed.linear.weight.device.type, placed.linear.weight.dtype) == ("meta", torch.bfloat16)
