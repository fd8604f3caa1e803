"""Two processes of gloo against one process with the whole batch: DDP by Trainer, FSDP2 by torch."""

import copy
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from el_plugins.integrations.transformers import use_encouraging_loss
from tests.integrations.transformers.language_models import (
    batch,
    formula,
    gradients,
    made,
    rows_and_targets,
    transformers,
)
from tests.integrations.transformers.training import arguments, examples, expected_of


def in_trainer(rank, folder):
    model = made("Llama")
    data = examples(model)
    loss, nll, share = expected_of(model, data)
    with use_encouraging_loss(model, log_end=0.5) as attached:
        settings = arguments(
            folder,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            ddp_find_unused_parameters=False,
        )
        trainer = transformers.Trainer(model, settings, train_dataset=data)
        attached.log_in(trainer)
        trainer.train()
    assert isinstance(trainer.model_wrapped, torch.nn.parallel.DistributedDataParallel)
    log = trainer.state.log_history[0]
    assert log["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert log["nll"] == pytest.approx(nll, rel=1e-5)
    assert log["well_classified"] == pytest.approx(share)


def by_fully_shard(rank, name, *, head_by_itself):
    """In place, as accelerate's FSDP2 does it; the loss is attached before."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh, model = init_device_mesh("cpu", (2,)), made(name)
    inputs, whole = batch(model, rows=4), copy.deepcopy(model)
    rows, targets = rows_and_targets(whole, inputs)
    items = (targets != -100).sum()
    expected = formula(rows, targets, 0.5) / items
    wanted = gradients(expected, whole)
    with use_encouraging_loss(model, log_end=0.5):
        if head_by_itself:
            fully_shard(model.get_output_embeddings(), mesh=mesh)
        fully_shard(model, mesh=mesh)
        mine = {key: value[2 * rank : 2 * rank + 2] for key, value in inputs.items()}
        loss = model(**mine, num_items_in_batch=items).loss
        total = loss.detach().clone()
        loss *= 2  # gradients are averaged over the processes; in place, as Trainer does it
        loss.backward()
    dist.all_reduce(total)
    torch.testing.assert_close(total, expected.detach())
    for key, parameter in model.named_parameters():
        if wanted[key] is not None:
            torch.testing.assert_close(parameter.grad.full_tensor(), wanted[key], rtol=1e-4, atol=1e-5)


def sharded_by_classes(rank):
    """Tensor parallelism: each process would see a part of the classes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    model = made("Llama")
    inputs = batch(model)
    with use_encouraging_loss(model):
        weight = distribute_tensor(model.lm_head.weight, init_device_mesh("cpu", (2,)), [Shard(0)])
        model.lm_head.weight = torch.nn.Parameter(weight)
        with pytest.raises(ValueError, match=r"must be gathered in its forward, .*, got a DTensor of shape"):
            model(**inputs)


def work(rank, port, folder):
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank), ACCELERATE_USE_CPU="true")
    in_trainer(rank, folder)
    by_fully_shard(rank, "Llama", head_by_itself=True)
    by_fully_shard(rank, "Marian", head_by_itself=False)
    sharded_by_classes(rank)
    dist.destroy_process_group()


def test_two_processes_are_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port, str(tmp_path)), nprocs=2)
