"""Peers on CUDA: what is installed of pip install liger-kernel cut-cross-entropy, and a copy as a measure."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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


def rows(pad: int) -> dict[str, Callable[[Tensor, Tensor, float], Tensor]]:
    """Losses of logits, targets and label smoothing by name; ``pad`` is the target that does not count."""
    found: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"device copy": lambda z, *_: Copy.apply(z)}
    if importlib.util.find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_cross_entropy

        # It writes over the logits in forward, so it gets them as they come out of a layer.
        found["Liger cross-entropy"] = lambda z, target, epsilon: liger_cross_entropy(
            z, target, ignore_index=pad, label_smoothing=epsilon, reduction="sum"
        )
    return found


def linear(pad: int) -> dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]]:
    """Losses of hidden states, output matrix, targets and label smoothing by name."""
    found: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {}
    if importlib.util.find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        found["Liger linear"] = lambda hidden, matrix, target, epsilon: liger_fused_linear_cross_entropy(
            hidden, matrix, target, ignore_index=pad, label_smoothing=epsilon, reduction="sum"
        )
    if importlib.util.find_spec("cut_cross_entropy"):
        from cut_cross_entropy import linear_cross_entropy

        found["cut-cross-entropy, not smoothed"] = lambda hidden, matrix, target, _: linear_cross_entropy(
            hidden, matrix, target, ignore_index=pad, reduction="sum"
        )
    return found
