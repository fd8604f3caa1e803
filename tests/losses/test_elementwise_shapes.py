"""Focal loss, the binary form and mirror MSE without values to read: meta and fake tensors, torch.export."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from el_plugins.losses import (
    BinaryEncouragingLossWithLogits,
    MirrorMSELoss,
    SigmoidHaltedFocalLoss,
    binary_encouraging_loss_with_logits,
    mirror_mse_loss,
    sigmoid_halted_focal_loss,
)
from el_plugins.losses.kernels import use


def losses(device, reduction):
    """Each loss' logits and result, for every kind of target."""
    labels, soft = torch.zeros(4, dtype=torch.long, device=device), torch.rand(4, 5, device=device)
    factors = torch.ones(5, device=device)
    for loss in (
        lambda x: sigmoid_halted_focal_loss(x, labels, reduction=reduction),
        lambda x: sigmoid_halted_focal_loss(x, soft, reduction=reduction),
        lambda x: sigmoid_halted_focal_loss(x, soft > 0.5, reduction=reduction),
        lambda x: binary_encouraging_loss_with_logits(x, soft, reduction=reduction, pos_weight=factors),
        lambda x: mirror_mse_loss(x, labels, reduction, weight=factors),
    ):
        x = torch.randn(4, 5, device=device, requires_grad=True)
        yield x, loss(x)


def assert_shapes(device, reduction):
    for x, loss in losses(device, reduction):
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert loss.shape == (x.shape if reduction == "none" else ())
        assert gradient.shape == x.shape
        assert loss.device.type == gradient.device.type == device


@pytest.mark.parametrize("path", ["auto", "formula"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_shapes_of_meta_and_fake_tensors(path, reduction):
    with use(path):
        assert_shapes("meta", reduction)
        with FakeTensorMode():
            assert_shapes("cpu", reduction)


LABELS, SOFT = torch.tensor([0, 1, 4, 3, -100, 0]), torch.rand(6, 5)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (SigmoidHaltedFocalLoss(reduction="mean"), LABELS),
        (SigmoidHaltedFocalLoss(reduction="mean"), SOFT),
        (BinaryEncouragingLossWithLogits(pos_weight=torch.rand(5)), SOFT),
        (MirrorMSELoss(weight=torch.rand(5)), LABELS),
    ],
    ids=["focal of classes", "focal of soft targets", "binary", "mirror MSE"],
)
def test_export_with_any_number_of_rows(loss, targets, strict, full_graph):
    rows = torch.export.Dim("rows")
    exported = torch.export.export(
        loss, (torch.randn(6, 5), targets), dynamic_shapes=({0: rows}, {0: rows}), strict=strict
    ).module()
    x = torch.randn(3, 5)
    torch.testing.assert_close(exported(x, targets[:3]), loss(x, targets[:3]))
