"""What is compared on a GPU: installed peers (liger-kernel, cut-cross-entropy, quack-kernels) and a copy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import peers

COPY = "device copy"


class Copy(torch.autograd.Function):
    """No loss: what it takes to read the logits once and to write as many bytes once."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        """Zero, of (N, V) logits."""
        ctx.save_for_backward(logits)
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        """A copy of the logits."""
        return ctx.saved_tensors[0].clone()


def copy(logits: Tensor, *_: Any) -> Tensor:
    """A copy in place of a loss."""
    return Copy.apply(logits)


def is_installed(module: str) -> bool:
    """Whether ``module`` can be imported."""
    return importlib.util.find_spec(module) is not None


def rows(pad: int, epsilon: float) -> dict[str, Callable[..., Tensor]]:
    """Losses of logits, targets and label smoothing by name; ``pad`` is the target that does not count."""
    names = ("fairseq LS-CE", "torch cross_entropy", "EL", "EL in place")
    found: dict[str, Callable[..., Tensor]] = {name: peers.ROWS[name] for name in names}
    found["torch cross_entropy, compiled"] = torch.compile(peers.torch_ce, dynamic=False)
    if is_installed("liger_kernel"):
        from liger_kernel.transformers.functional import liger_cross_entropy

        # It writes over the logits in forward, so it gets them as they come out of a layer.
        found["Liger cross-entropy"] = lambda z, target, epsilon: liger_cross_entropy(
            z, target, ignore_index=pad, label_smoothing=epsilon, reduction="sum"
        )
    if is_installed("quack") and not epsilon:  # it does not smooth
        from quack.cross_entropy import cross_entropy

        found["quack cross-entropy"] = lambda z, target, _: cross_entropy(
            z, target, ignore_index=pad, reduction="sum"
        )
    return {**found, COPY: copy}


def linear(pad: int) -> dict[str, Callable[..., Tensor]]:
    """Losses of hidden states, output matrix, targets and label smoothing by name."""
    found: dict[str, Callable[..., Tensor]] = dict(peers.LINEAR)
    if is_installed("liger_kernel"):
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        found["Liger linear"] = lambda hidden, matrix, target, epsilon: liger_fused_linear_cross_entropy(
            hidden, matrix, target, ignore_index=pad, label_smoothing=epsilon, reduction="sum"
        )
    if is_installed("cut_cross_entropy"):
        from cut_cross_entropy import linear_cross_entropy

        found["cut-cross-entropy, not smoothed"] = lambda hidden, matrix, target, _: linear_cross_entropy(
            hidden, matrix, target, ignore_index=pad, reduction="sum"
        )
    return found


def focal() -> dict[str, Callable[..., Tensor]]:
    """Losses of logits and class indices by name."""
    names = ("detectron2 focal", "fvcore focal, not scripted", "torchvision focal", "halted focal")
    return {**{name: peers.FOCAL[name] for name in names}, COPY: copy}
