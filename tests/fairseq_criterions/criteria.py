"""Criteria on real models, and trained weights compared."""

import re
import sys

import pytest
import torch
import torch.nn.functional as F

import fairseq_criterions
from el_plugins.checkpoints.safe_loading import load_checkpoint
from el_plugins.utils.commands import find_command
from tests.slurm import free_port

GLOO = ["--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]
# An uninitialised placeholder, and the copies that fairseq 0.12.2's fused layers make on loading.
NOT_TRAINED = re.compile(r"_float_tensor$|layers\.\d+\.(in_proj|out_proj|fc1|fc2)_(weight|bias)$")


def criterion_of(task, cls=fairseq_criterions.EncouragingLabelSmoothedCrossEntropyCriterion, **options):
    return cls(task, **{"sentence_avg": False, "label_smoothing": 0.1, **options})


def needs_layers_in(dtype):
    """Skip the test where torch has no CPU layers in ``dtype``."""
    try:
        F.layer_norm(torch.zeros(1, 2, dtype=dtype), (2,))
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} trains no such model on CPU: {error}")


def loss_gradient_log(criterion, model, sample, reduce=True):
    model.zero_grad()
    loss, size, log = criterion(model, sample, reduce=reduce)
    loss.sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return loss, size, log, gradients


def weights(path):
    return load_checkpoint(path)["model"]


def assert_same_weights(one, other, **tolerance):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        if NOT_TRAINED.search(name):
            continue
        torch.testing.assert_close(one[name], other[name], **(tolerance or {"rtol": 0, "atol": 0}))


def processes(number):
    """Launcher of fairseq-train in several processes of this machine."""
    # fairseq reads torchrun's variables only where it sees GPUs, so on CPU they are passed on as flags.
    flags = "--distributed-world-size $WORLD_SIZE --distributed-rank $RANK --distributed-no-spawn"
    worker = f'exec {find_command("fairseq-train")} "$@" {flags} --distributed-init-method env://'
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc_per_node={number}",
        f"--master_port={free_port()}",
    ]
    return (*torchrun, "--no-python", "bash", "-c", worker, "worker")
