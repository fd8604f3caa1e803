"""Gradients computed in forward, for an upstream gradient of 1, times the one that comes in backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels.fallback import with_fallback
from el_plugins.losses.kernels.memory import is_dense
from el_plugins.losses.kernels.transforms import ONCE, is_legacy_batched
from el_plugins.losses.validation import any_true


def scaled(path: str, gradient: Tensor, grad_output: Tensor) -> Tensor:
    """``gradient`` times the scalar ``grad_output``, by ``path``: in place unless the graph is kept.

    A kept graph may be run again, for which ``gradient`` must stay as it is.
    """
    if is_legacy_batched(grad_output):
        return (gradient * grad_output).to(gradient.dtype)
    if torch.is_grad_enabled():  # create_graph=True
        return Product.apply(gradient.detach().requires_grad_(), grad_output)
    return gradient * grad_output if graph_is_kept() else scale_(path, gradient, grad_output)


def scale_(path: str, gradient: Tensor, factor: Tensor) -> Tensor:
    """Multiply ``gradient`` in place by the scalar ``factor``; for a factor of 1 it is not read.

    0 stays 0 even if the factor is infinite: a sum over no targets that is divided by their number gives no
    gradient, as with torch's own cross-entropy, instead of NaN.
    """
    if path == "triton" and is_dense(gradient):
        from el_plugins.losses.kernels import scale_triton  # Triton is optional

        return with_fallback(scale_triton.scale_, plain_scale_)(gradient, factor)
    if gradient.device.type == "cpu" and factor == 1:
        return gradient
    return plain_scale_(gradient, factor)


def plain_scale_(gradient: Tensor, factor: Tensor) -> Tensor:
    """:func:`scale_` by plain operations."""
    if any_true(factor.isfinite()):  # unknown on a GPU
        return gradient.mul_(factor)
    zero = gradient == 0
    return gradient.mul_(factor).masked_fill_(zero, 0)


def graph_is_kept() -> bool:
    """Whether another backward may follow (``retain_graph``); True where torch does not say."""
    of_task = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return of_task is None or of_task()


class Product(torch.autograd.Function):
    """A gradient times a scalar, which has no derivative: that of the loss would be missing from it."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grad_output: Tensor) -> Tensor:
        """The product."""
        return gradient * grad_output

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        """Raise RuntimeError."""
        raise RuntimeError(ONCE)
