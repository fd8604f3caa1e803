"""How encouraging loss is called: layouts, torch.compile, vmap, the module, and errors."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import EncouragingLoss, encouraging_loss

pytestmark = pytest.mark.usefixtures("path")


def test_layouts_agree_with_plain_rows():
    z = torch.randn(2, 5, 3, 4)
    target = torch.randint(5, (2, 3, 4))
    flat = encouraging_loss(z.permute(0, 2, 3, 1).reshape(-1, 5), target.reshape(-1), reduction="none")
    torch.testing.assert_close(encouraging_loss(z, target, reduction="none"), flat.view(2, 3, 4))
    one = encouraging_loss(z[0, :, 0, 0], target[0, 0, 0], reduction="none")
    torch.testing.assert_close(one, flat[0])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_non_contiguous_input(label_smoothing):
    base = torch.randn(10, 6)
    target = torch.randint(5, (3,))
    view = base[::2, 1:][:3].requires_grad_()
    loss = encouraging_loss(view, target, label_smoothing=label_smoothing)
    torch.testing.assert_close(
        loss, encouraging_loss(view.detach().contiguous(), target, label_smoothing=label_smoothing)
    )


def test_under_compile_as_one_graph(full_graph):
    z = torch.randn(6, 10, requires_grad=True)
    target = torch.tensor([0, 3, -100, 9, 1, 2])
    options = {"label_smoothing": 0.1, "log_end": 1.0}
    compiled = full_graph(encouraging_loss)(z, target, **options)
    eager = encouraging_loss(z, target, **options)
    torch.testing.assert_close(compiled, eager)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (compiled, eager)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_under_vmap(label_smoothing):
    z, target = torch.randn(4, 3, 5), torch.randint(5, (4, 3))
    mapped = torch.func.vmap(lambda z, t: encouraging_loss(z, t, label_smoothing=label_smoothing))(z, target)
    one_by_one = [encouraging_loss(*pair, label_smoothing=label_smoothing) for pair in zip(z, target)]
    torch.testing.assert_close(mapped, torch.stack(one_by_one))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "average"}, "reduction must be one of none, mean, sum, got 'average'"),
        ({"label_smoothing": 1.5}, "label_smoothing must be a finite number >= 0 and <= 1, got 1.5"),
        ({"smoothing": "torch"}, "smoothing must be one of uniform, fairseq, got 'torch'"),
        ({"ignore_index": None}, "ignore_index must be an integer, got None"),
        ({"ignore_index": 1.0}, "ignore_index must be an integer, got 1.0"),
        ({"bonus": "sine"}, "bonus must be one of log, aggressive, power, cosine, none, got 'sine'"),
        ({"log_end": -0.1}, "log_end must be a finite number >= 0 and <= 1, got -0.1"),
        ({"log_end": float("nan")}, "log_end must be a finite number >= 0 and <= 1, got nan"),
        ({"log_end": "0.5"}, "log_end must be a finite number >= 0 and <= 1, got '0.5'"),
        ({"label_smoothing": None}, "label_smoothing must be a finite number >= 0 and <= 1, got None"),
        ({"bonus_eps": 0.5}, "bonus_eps must be a finite number >= 0 and < 0.5, got 0.5"),
        ({"bonus_eps": -1e-5}, "bonus_eps must be a finite number >= 0 and < 0.5, got -1e-05"),
        ({"bonus_weight": torch.tensor(1.0)}, "bonus_weight must be a number, got a tensor"),
        ({"bonus_weight": -1}, "bonus_weight must be a finite number >= 0, got -1"),
        ({"bonus": "power", "bonus_exponent": 0}, "bonus_exponent must be a finite number > 0, got 0"),
        ({"bonus": "power", "bonus_start": 1.0}, "bonus_start must be a finite number >= 0 and < 1, got 1.0"),
        ({"bonus_start": 0.5}, "bonus_start=0.5 means nothing for bonus='log'"),
        ({"weight": torch.ones(3)}, "weight must have one element for each of the 4 classes, got shape"),
        ({"weight": torch.ones(4, dtype=torch.long)}, "weight must be a floating-point tensor"),
        ({"target": torch.zeros(2).bool()}, "target must be integer class indices, got dtype torch.bool"),
        ({"target": torch.zeros(2)}, "target of class probabilities must have shape (2, 4) for input of"),
        ({"target": torch.zeros(2, 4), "ignore_index": 0}, "ignore_index must be negative for class prob"),
        (
            {"target": torch.zeros(2, 4), "label_smoothing": 0.1, "smoothing": "fairseq"},
            "smoothing='fairseq' spreads label_smoothing over all classes but the target",
        ),
        ({"target": torch.zeros(2, 4), "return_log_prob": True}, "return_log_prob must be False for class"),
        ({"target": torch.zeros(3, dtype=torch.long)}, "target must have shape"),
        ({"target": torch.tensor([0, 4])}, "target must be a class index from 0 to 3 or ignore_index"),
        ({"target": torch.tensor([0, -1])}, "got -1"),
        ({"input": torch.zeros(2, 4, dtype=torch.long)}, "input must be a floating-point tensor"),
        (
            {"input": torch.zeros(2, 4, dtype=torch.float8_e4m3fn)},
            "of 16, 32 or 64 bits, got dtype torch.float8",
        ),
        ({"input": np.zeros((2, 4))}, "input must be a torch.Tensor, got ndarray"),
        ({"target": [0, 1]}, "target must be a torch.Tensor, got list"),
        ({"weight": [1.0, 1.0, 1.0, 1.0]}, "weight must be a torch.Tensor, got list"),
        ({"log_end": 10**400}, "log_end must be a finite number >= 0 and <= 1, got 1000"),
        ({"log_end": torch.zeros(2)}, "log_end must be a finite number >= 0 and <= 1, got tensor"),
        ({"input": torch.zeros(2, 0)}, "input must have at least one class"),
    ],
)
def test_errors_name_the_argument_its_value_and_what_is_allowed(arguments, message):
    defaults = {"input": torch.zeros(2, 4), "target": torch.zeros(2, dtype=torch.long)}
    with pytest.raises(ValueError, match=re.escape(message)):
        encouraging_loss(**{**defaults, **arguments})


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(5,), (7, 5), (3, 5, 2)])
def test_log_prob_of_the_target_on_request(reduction, shape):
    z = torch.randn(shape, requires_grad=True)
    target = torch.randint(5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if target.dim():
        target.view(-1)[0] = -100
    options = {"reduction": reduction, "label_smoothing": 0.1, "weight": torch.rand(5)}
    loss, log_prob = encouraging_loss(z, target, **options, return_log_prob=True)
    assert torch.equal(loss, encouraging_loss(z, target, **options))
    torch.testing.assert_close(log_prob, -F.cross_entropy(z, target, reduction="none").detach())
    assert not log_prob.requires_grad


def test_module_is_the_function():
    weight = torch.rand(4)
    options = {"bonus": "power", "bonus_exponent": 3.0, "bonus_start": 0.1, "smoothing": "fairseq"}
    module = EncouragingLoss(weight, 1, "sum", 0.1, **options)
    z, target = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    expected = encouraging_loss(z, target, weight, 1, "sum", 0.1, **options)
    assert torch.equal(module(z, target), expected)
    assert torch.equal(module.state_dict()["weight"], weight)
    assert "bonus='power'" in repr(module)
    assert repr(EncouragingLoss(torch.ones(3))).startswith("EncouragingLoss(weight=tensor of shape (3,), ")
    assert "inplace=False" in repr(module)
    assert "inplace=True" in repr(EncouragingLoss(inplace=True))
    with pytest.raises(ValueError, match="ignore_index must be an integer, got None"):
        EncouragingLoss(ignore_index=None)
    with pytest.raises(ValueError, match="log_end"):
        EncouragingLoss(log_end=2)


@pytest.mark.parametrize(
    ("dtype", "classes"),
    [(torch.uint8, 256), (torch.uint8, 300), (torch.int8, 128), (torch.int16, 40_000)],
)
def test_targets_of_narrow_dtypes(dtype, classes):
    """Comparing them with a number of classes that they cannot hold would overflow."""
    logits, target = torch.randn(3, classes), torch.tensor([0, 1, min(classes, 101) - 1])
    assert torch.equal(encouraging_loss(logits, target.to(dtype)), encouraging_loss(logits, target))
    if dtype == torch.uint8 and classes == 256:  # 156 is -100 as uint8 has it
        target[0] = 156
        assert torch.equal(encouraging_loss(logits, target.to(dtype)), encouraging_loss(logits, target))
