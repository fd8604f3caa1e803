"""What a training step does on a GPU: operations, launches and bytes, counted in Triton's interpreter.

Run by test_triton.py. A launch or a small operation costs some microseconds, as a pass over 4,096 rows of
6,632 logits does some twenty.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from triton.runtime import interpreter

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import soft_target_function, softmax_launch_triton, softmax_rows, use

MOST = 16  # operations and launches of a step
STEPS = [
    {"bonus": bonus, "label_smoothing": smoothing, "reduction": reduction, "weighted": weighted}
    for bonus in ("log", "aggressive", "power", "cosine", "none")
    for smoothing in (0.0, 0.1)
    for reduction in ("mean", "sum", "none")
    for weighted in (False, True)
]


class Operations(TorchDispatchMode):
    """Counts the operations inside the block, without views and allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        is_view = any(
            x.alias_info is not None and not x.alias_info.is_write for x in function._schema.returns
        )
        if not is_view and "empty" not in function.__name__:
            self.names.append(function.__name__)
        return function(*arguments, **(keywords or {}))


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """The kernels launched, and the bytes that they read and write of each element size."""
    launches, moved = [], {}
    run, load, store = (
        interpreter.InterpretedFunction.run,
        interpreter.InterpreterBuilder.create_masked_load,
        interpreter.InterpreterBuilder.create_masked_store,
    )

    def counting_run(self, *arguments, **keywords):
        launches.append(self.__name__)
        with _disable_current_modes():
            return run(self, *arguments, **keywords)

    def count(pointers, mask):
        size = pointers.get_element_ty().primitive_bitwidth // 8
        moved[size] = moved.get(size, 0) + size * int(mask.data.sum())

    def counting_load(self, pointers, mask, *others):
        count(pointers, mask)
        return load(self, pointers, mask, *others)

    def counting_store(self, pointers, value, mask, *others):
        count(pointers, mask)
        return store(self, pointers, value, mask, *others)

    monkeypatch.setattr(interpreter.InterpretedFunction, "run", counting_run)
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_masked_load", counting_load)
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_masked_store", counting_store)
    for module in (softmax_rows, soft_target_function):
        monkeypatch.setattr(module, "with_fallback", lambda fast, slow: fast)
    return launches, moved


def step(z, target, **options):
    """Forward and backward; the operations outside are not the loss'."""
    leaf = z.requires_grad_()
    logits = leaf * 1 if options.get("inplace") else leaf
    ones = torch.ones(target.shape if options.get("reduction") == "none" else ())
    if target.is_floating_point():
        ones = torch.ones(len(z)) if options.get("reduction") == "none" else ones
    with use("triton"), Operations() as operations:
        loss = encouraging_loss(logits, target, **options)
        torch.autograd.grad(loss[0] if options.get("return_log_prob") else loss, leaf, ones)
    return operations.names


def weights(classes, weighted):
    return torch.linspace(0.5, 2, classes) if weighted else None


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_operations_of_a_step(options, counted, monkeypatch):
    launches, _ = counted
    # On a GPU targets are not checked, for that would read them.
    monkeypatch.setattr("el_plugins.losses.encouraging.check_class_indices", lambda *_: None)
    options = dict(options)
    options["weight"] = weights(5, options.pop("weighted"))
    for shape in ((4, 5), (2, 5, 3, 2)):
        target = torch.randint(5, shape[:1] + shape[2:])
        for dtype in (torch.float32, torch.float16):
            for more in ({}, {"inplace": True}, {"return_log_prob": True}):
                launches.clear()
                names = step(torch.randn(shape, dtype=dtype), target, **options, **more)
                assert len(names) + len(launches) <= MOST, (names, launches)
    launches.clear()
    names = step(torch.randn(4, 5), torch.rand(4, 5), **options)
    assert len(names) + len(launches) <= MOST, (names, launches)


def test_a_usual_step(counted, monkeypatch):
    launches, _ = counted
    monkeypatch.setattr("el_plugins.losses.encouraging.check_class_indices", lambda *_: None)
    names = step(torch.randn(4, 5), torch.randint(5, (4,)), label_smoothing=0.1)
    assert (names, launches) == (["sum.default"], ["partial_counts", "short_rows", "_scale"])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [19, 6632, 16240])
@pytest.mark.parametrize(
    ("dtype", "reduction", "passes"),
    [("bfloat16", "mean", 2), ("float32", "sum", 2), ("float16", "mean", 3), ("float32", "none", 3)],
)
def test_every_byte_once(dtype, reduction, passes, classes, label_smoothing, counted):
    _, moved = counted
    z, target = torch.randn(6, classes, dtype=getattr(torch, dtype)), torch.randint(classes, (6,))
    step(z, target, label_smoothing=label_smoothing, reduction=reduction, inplace=True)
    logits = 6 * classes * z.element_size()
    assert sum(moved.values()) <= passes * logits + 150 * 6  # and a few numbers of each row
    early = reduction != "none" and dtype != "float16"
    assert softmax_launch_triton.traffic(6, classes, z.element_size(), early=early) == passes * logits
