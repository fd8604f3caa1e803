"""What a training step does on a GPU: operations, launches and bytes, counted in Triton's interpreter.

Run by test_triton.py. A launch or a small operation costs some microseconds, as a pass over 4,096 rows of
6,632 logits does some twenty.
"""

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import soft_target_function, softmax_launch_triton, softmax_rows, use
from tests.losses.kernels.counting import counted
from tests.marks import long

MOST = 16  # operations and launches of a step
STEPS = [
    {"bonus": bonus, "label_smoothing": smoothing, "reduction": reduction, "weighted": weighted}
    for bonus in ("log", "aggressive", "power", "cosine", "none")
    for smoothing in (0.0, 0.1)
    for reduction in ("mean", "sum", "none")
    for weighted in (False, True)
]
# Every seventh of them has each value of each option.
FEW = [*STEPS[::7], *long(*(step for place, step in enumerate(STEPS) if place % 7))]


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch):
    """What a kernel cannot do is an error, not another path."""
    for module in (softmax_rows, soft_target_function):
        monkeypatch.setattr(module, "with_fallback", lambda fast, slow: fast)


def step(monkeypatch, z, target, **options):
    """What forward and backward cost; the operations outside are not the loss'."""
    leaf = z.requires_grad_()
    logits = leaf * 1 if options.get("inplace") else leaf
    ones = torch.ones(target.shape if options.get("reduction") == "none" else ())
    if target.is_floating_point():
        ones = torch.ones(len(z)) if options.get("reduction") == "none" else ones
    with counted(monkeypatch) as counts, use("triton"):
        loss = encouraging_loss(logits, target, **options)
        torch.autograd.grad(loss[0] if options.get("return_log_prob") else loss, leaf, ones)
    return counts


def weights(classes, weighted):
    return torch.linspace(0.5, 2, classes) if weighted else None


@pytest.mark.parametrize("options", FEW, ids=str)
def test_operations_of_a_step(options, monkeypatch):
    options = dict(options)
    options["weight"] = weights(5, options.pop("weighted"))
    for shape in ((4, 5), (2, 5, 3, 2)):
        target = torch.randint(5, shape[:1] + shape[2:])
        for dtype in (torch.float32, torch.float16):
            for more in ({}, {"inplace": True}, {"return_log_prob": True}):
                counts = step(monkeypatch, torch.randn(shape, dtype=dtype), target, **options, **more)
                assert counts.count <= MOST, (counts.operations, counts.launches)
    counts = step(monkeypatch, torch.randn(4, 5), torch.rand(4, 5), **options)
    assert counts.count <= MOST, (counts.operations, counts.launches)


def test_a_usual_step(monkeypatch):
    counts = step(monkeypatch, torch.randn(4, 5), torch.randint(5, (4,)), label_smoothing=0.1)
    assert counts.operations == ["aten.sum.default"]
    assert counts.launches == ["partial_counts", "short_rows", "_scale"]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [19, 6632, 16240])
@pytest.mark.parametrize(
    ("dtype", "reduction", "passes"),
    [("bfloat16", "mean", 2), ("float32", "sum", 2), ("float16", "mean", 3), ("float32", "none", 3)],
)
def test_every_byte_once(dtype, reduction, passes, classes, label_smoothing, monkeypatch):
    z, target = torch.randn(6, classes, dtype=getattr(torch, dtype)), torch.randint(classes, (6,))
    options = {"label_smoothing": label_smoothing, "reduction": reduction, "inplace": True}
    counts = step(monkeypatch, z, target, **options)
    logits = 6 * classes * z.element_size()
    assert counts.bytes <= passes * logits + 150 * 6  # and a few numbers of each row
    early = reduction != "none" and dtype != "float16"
    assert softmax_launch_triton.traffic(6, classes, z.element_size(), early=early) == passes * logits
