"""The losses where no values can be read: meta and fake tensors, torch.export, and what a GPU computes."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from el_plugins.losses import (
    EncouragingLoss,
    LinearEncouragingLoss,
    encouraging_loss,
    linear,
    linear_cross_entropy,
    linear_encouraging_loss,
)
from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import kernel_options
from el_plugins.losses.kernels import softmax, softmax_chunked, softmax_eager, use
from el_plugins.losses.options import RowOptions

OPTIONS = [
    {},
    {"label_smoothing": 0.1, "bonus": "cosine"},
    {"label_smoothing": 0.1, "weight": torch.linspace(0.5, 2, 5)},
    {"bonus": "none"},
]


def rows_and_layer(device, reduction, weight=None, **options):
    """Loss and gradients of the row and the linear form, of class indices and probabilities."""
    weight = None if weight is None else weight.to(device)
    z = torch.randn(4, 5, device=device, requires_grad=True)
    target = torch.zeros(4, dtype=torch.long, device=device)
    hidden = torch.randn(4, 3, device=device, requires_grad=True)
    matrix = torch.randn(5, 3, device=device, requires_grad=True)
    options = {"weight": weight, "reduction": reduction, **options}
    losses = [
        encouraging_loss(z, target, **options),
        encouraging_loss(z, torch.rand(4, 5, device=device), **options),
        linear_encouraging_loss(hidden, matrix, target, **options),
        linear_encouraging_loss(hidden, matrix, target, linear_bias=matrix[:, 0], **options),
    ]
    sum(loss.sum() for loss in losses).backward()
    shapes = [tuple(loss.shape) for loss in losses]
    assert shapes == [(4,) if reduction == "none" else ()] * 4
    assert (z.grad.shape, hidden.grad.shape, matrix.grad.shape) == (z.shape, hidden.shape, matrix.shape)
    assert z.grad.device.type == device


@pytest.mark.parametrize("path", ["auto", "compiled", "triton", "formula"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_shapes_of_meta_and_fake_tensors(path, reduction, options):
    with use(path):
        rows_and_layer("meta", reduction, **options)
        with FakeTensorMode(allow_non_fake_inputs=True):
            rows_and_layer("cpu", reduction, **options)


@pytest.mark.skipif(torch.__version__ < (2, 6), reason="this torch asks for the driver")
def test_fake_tensors_of_a_gpu():
    with FakeTensorMode():
        z, target = torch.empty(4, 5, device="cuda"), torch.empty(4, dtype=torch.long, device="cuda")
        for options in ({}, {"label_smoothing": 0.1}):
            assert encouraging_loss(z, target, **options).device.type == "cuda"
            assert linear_encouraging_loss(z, z, target, **options).device.type == "cuda"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("strict", [False, True])
def test_export(options, strict, full_graph):
    z, target = torch.randn(4, 5), torch.tensor([0, 3, -100, 2])
    for loss, input in (
        (EncouragingLoss(**options), z),
        (LinearEncouragingLoss(6, 5, bias=True, **options), torch.randn(4, 6)),
    ):
        exported = torch.export.export(loss, (input, target), strict=strict).module()
        other = torch.tensor([-100, 1, 4, 4])
        torch.testing.assert_close(exported(2 * input, other), loss(2 * input, other))


@pytest.mark.parametrize(
    "options", [*OPTIONS, {"log_end": 1.0, "bonus_eps": 0.0, "label_smoothing": 0.1}], ids=str
)
def test_what_a_gpu_does_without_reading_values(options, monkeypatch):
    z = 3 * torch.randn(6, 5)
    target = torch.tensor([0, 3, -100, 2, 1, 0])
    z[0, 0] = 1e4  # the exponentials of all others vanish
    z[2] = float("nan")
    z[4, :3] = 7.0

    def results():
        leaf = z.clone().requires_grad_()
        hidden = torch.cat([z, torch.ones(6, 1)], 1).requires_grad_()
        matrix = torch.eye(5, 6).requires_grad_()
        with use("chunks"):
            losses = [encouraging_loss(leaf, target, reduction="none", **options)]
            losses.append(linear_encouraging_loss(hidden, matrix, target, reduction="none", **options))
        losses.append(linear_encouraging_loss(hidden, matrix, target, **options))
        return [*losses, *torch.autograd.grad(sum(loss.sum() for loss in losses), (leaf, hidden, matrix))]

    expected = results()
    for module in (softmax_chunked, linear, linear_cross_entropy):
        monkeypatch.setattr(module, "any_true", lambda mask: None)
    torch.testing.assert_close(results(), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["log", "cosine"])
def test_compiled_code_relative_to_the_second_class(name, smoothing):
    # As it is compiled for a GPU: with columns.
    z = 3 * torch.randn(5, 9)
    z[0, 2], z[1, 4:6] = 1e4, 8.0
    z[2, 1:] = -torch.inf
    options = kernel_options(RowOptions(Bonus(name), label_smoothing=smoothing), 9, z.dtype)
    columns = torch.arange(9.0)
    expected = softmax_eager.row_stats(z.double(), options, relative_to_second=True)
    actual = softmax_eager.row_stats(z, options, columns, relative_to_second=True)
    for member, one, other in zip(softmax.RowStats._fields, actual, expected):
        torch.testing.assert_close(one, other, check_dtype=False, rtol=1e-5, atol=1e-6, msg=member)


@pytest.mark.gpu
@pytest.mark.parametrize("path", ["chunks", "triton", "formula"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_gpu_is_not_synchronized(path, options):
    if "weight" in options:
        options = {**options, "weight": options["weight"].cuda()}
    with use(path):
        rows_and_layer("cuda", "mean", **options)  # compiled and allocated once
        torch.cuda.set_sync_debug_mode("error")
        try:
            rows_and_layer("cuda", "mean", **options)
        finally:
            torch.cuda.set_sync_debug_mode("default")
