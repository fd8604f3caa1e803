"""Peers on CUDA, if installed (pip install liger-kernel cut-cross-entropy), and a copy for comparison."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Copy(torch.autograd.Function):
    """No loss: the cost of reading the logits once and writing as many bytes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        """Zero, of (N, V) logits."""
        ctx.save_for_backward(logits)
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        """A copy of the logits."""
        return ctx.saved_tensors[0].clone()


def rows(pad: int) -> dict[str, Callable[[Tensor, Tensor, float], Tensor]]:
    """Losses of logits, targets and label smoothing by name; ``pad`` is the target that does not count."""
    peers: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"device copy": lambda z, *_: Copy.apply(z)}
    if importlib.util.find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_cross_entropy

        # It writes over the logits in forward, so it gets them as they come out of a layer.
        peers["Liger cross-entropy"] = lambda z, target, epsilon: liger_cross_entropy(
            z, target, ignore_index=pad, label_smoothing=epsilon, reduction="sum"
        )
    return peers


def linear(pad: int) -> dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]]:
    """Losses of hidden states, output matrix, targets and label smoothing by name."""
    peers: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {}
    if importlib.util.find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        peers["Liger linear"] = lambda hidden, matrix, target, epsilon: liger_fused_linear_cross_entropy(
            hidden, matrix, target, ignore_index=pad, label_smoothing=epsilon, reduction="sum"
        )
    if importlib.util.find_spec("cut_cross_entropy"):
        from cut_cross_entropy import linear_cross_entropy

        peers["cut-cross-entropy, not smoothed"] = lambda hidden, matrix, target, _: linear_cross_entropy(
            hidden, matrix, target, ignore_index=pad, reduction="sum"
        )
    return peers
