"""Row losses of DTensors on two processes of gloo against the same rows in one tensor."""

import itertools

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from el_plugins.losses import encouraging_loss, linear_encouraging_loss, sharded
from el_plugins.losses.sharded import dtensor

MEMBERS = dtensor() if dist.is_available() else None
REDUCTIONS = ("mean", "sum", "none")


def cases():
    """Logits, and targets with an ignored one or probabilities, whose batch no two processes share evenly."""
    torch.manual_seed(0)
    for shape in ((5, 7), (3, 7, 2)):
        z, q = torch.randn(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
        target = torch.randint(7, shape[:1] + shape[2:])
        target.view(-1)[0] = -100
        yield z, target
        yield z, q


def equals_one_tensor(mesh):
    weight = torch.linspace(0.5, 2, 7)
    placements = (MEMBERS.Shard(0), MEMBERS.Replicate())
    for (z, target), place, at in itertools.product(cases(), placements, placements):
        options = {"weight": weight, "label_smoothing": 0.1}
        for reduction in REDUCTIONS:
            whole = z.clone().requires_grad_()
            expected = encouraging_loss(whole, target, reduction=reduction, **options)
            grad_output = torch.rand_like(expected)
            expected.backward(grad_output)
            placed = MEMBERS.distribute_tensor(z, mesh, [place]).requires_grad_()
            other = MEMBERS.distribute_tensor(target, mesh, [at]) if reduction != "sum" else target
            actual = encouraging_loss(placed, other, reduction=reduction, **options)
            torch.testing.assert_close(actual.full_tensor(), expected)
            (actual.full_tensor() * grad_output).sum().backward()
            assert placed.grad.placements == (place,)
            torch.testing.assert_close(placed.grad.full_tensor(), whole.grad)


def backward_of_the_loss_itself(mesh):
    z, target = next(cases())
    placed = MEMBERS.distribute_tensor(z, mesh, [MEMBERS.Shard(0)]).requires_grad_()
    encouraging_loss(placed, target).backward()
    whole = z.requires_grad_()
    encouraging_loss(whole, target).backward()
    torch.testing.assert_close(placed.grad.full_tensor(), whole.grad)


def refusals(mesh):
    z, target = torch.randn(4, 6), torch.zeros(4, dtype=torch.long)

    def place(x, placement):
        return MEMBERS.distribute_tensor(x, mesh, [placement])

    rows, columns = MEMBERS.Shard(0), MEMBERS.Shard(1)
    leaf = place(z, rows).requires_grad_()
    for call, error, message in [
        (
            lambda: encouraging_loss(place(z, columns), target),
            ValueError,
            r"input, a DTensor, .*Shard\(dim=1\)",
        ),
        (lambda: encouraging_loss(place(z[0], rows), target[0]), ValueError, r"input, .*Shard\(dim=0\)"),
        (lambda: encouraging_loss(z, place(target, rows)), ValueError, "target must be a plain tensor"),
        (
            lambda: encouraging_loss(place(z, rows), target, place(torch.ones(6), rows)),
            ValueError,
            "weight, a DTensor, must be placed by Replicate",
        ),
        (
            lambda: encouraging_loss(place(z, rows), target, torch.ones(6, requires_grad=True)),
            ValueError,
            "weight must not require a gradient",
        ),
        (lambda: encouraging_loss(leaf, target, inplace=True), RuntimeError, "inplace=True would overwrite"),
        (
            lambda: linear_encouraging_loss(z, nn.Parameter(place(torch.ones(3, 6), rows)), target),
            ValueError,
            "linear_weight must be a whole, dense torch.Tensor on this device, got DTensor: gather",
        ),
    ]:
        with pytest.raises(error, match=message):
            call()


def process(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    for check in (equals_one_tensor, backward_of_the_loss_itself, refusals):
        check(mesh)
    dist.destroy_process_group()


def test_older_torch_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sharded, "OLDEST", (99, 0))
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
        z = MEMBERS.distribute_tensor(torch.zeros(2, 3), mesh, [MEMBERS.Replicate()])
        with pytest.raises(
            ValueError, match=r"input must be a plain tensor before torch 2\.6, got a DTensor"
        ):
            encouraging_loss(z, torch.tensor([0, 1]))
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(torch.__version__ < sharded.OLDEST, reason="torch gives a wrong gradient")
@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
def test_two_processes(tmp_path):
    mp.start_processes(process, (tmp_path / "store",), nprocs=2, start_method="spawn")
