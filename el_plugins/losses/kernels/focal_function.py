"""Halted focal loss as one autograd node: a chunk of rows at a time in forward, and again in backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import focal_eager
from el_plugins.losses.kernels.backends import by_triton
from el_plugins.losses.kernels.chunks import chunk_rows
from el_plugins.losses.kernels.compile_cache import compiled
from el_plugins.losses.kernels.fallback import with_fallback
from el_plugins.losses.kernels.focal import FocalSettings
from el_plugins.losses.kernels.transforms import ONCE, USE_THE_FORMULA, is_legacy_batched


def compute_losses(path: str, x: Tensor, target: Tensor, settings: FocalSettings, summed: bool) -> Tensor:
    """Losses (n, K), or their sum, of logits (n, K) by ``path``, in float32 or float64.

    ``target`` is (n) class indices, or (n, K) of bool, integers 0 and 1, or floating in [0, 1].
    """
    if by_triton(path, x):
        from el_plugins.losses.kernels import focal_triton  # Triton is optional

        return with_fallback(focal_triton.losses, losses_eager)(x, target, settings, summed)
    function = focal_eager.class_losses if target.dim() == 1 else focal_eager.dense_losses
    if path in ("compiled", "triton"):
        function = compiled(function)
    chunks = chunk_rows(x, path)
    # Allocated before the chunks: between their temporaries, results would fragment memory.
    wide = torch.promote_types(x.dtype, torch.float32)
    losses = x.new_empty(len(chunks) if summed else x.shape, dtype=wide)
    for number, part in enumerate(chunks):
        place = losses[number] if summed else losses[part]
        place.copy_(function(x[part], target[part], settings, summed))
    return losses.sum() if summed else losses


def compute_gradient(
    path: str, x: Tensor, grad_output: Tensor, target: Tensor, settings: FocalSettings
) -> Tensor:
    """Gradient of :func:`compute_losses` times ``grad_output``, a scalar or (n, K), in the dtype of ``x``."""
    if by_triton(path, x):
        from el_plugins.losses.kernels import focal_triton

        return with_fallback(focal_triton.gradient, gradient_eager)(x, grad_output, target, settings)
    function = focal_eager.class_gradient if target.dim() == 1 else focal_eager.dense_gradient
    if path in ("compiled", "triton"):
        function = compiled(function)
    gradient = torch.empty_like(x)
    grad_output = grad_output.expand(x.shape)
    for part in chunk_rows(x, path):
        function(gradient[part], x[part], grad_output[part], target[part], settings)
    return gradient


def losses_eager(*arguments: Any) -> Tensor:
    """:func:`compute_losses` by plain operations."""
    return compute_losses("chunks", *arguments)


def gradient_eager(*arguments: Any) -> Tensor:
    """:func:`compute_gradient` by plain operations."""
    return compute_gradient("chunks", *arguments)


class FocalLoss(torch.autograd.Function):
    """Sum, or each element, of halted focal loss of (n, K) logits: float32 or float64.

    Saves only logits and targets; backward computes the gradient from them, any number of times.
    """

    @staticmethod
    def forward(x: Tensor, target: Tensor, settings: FocalSettings, path: str, summed: bool) -> Tensor:
        """:func:`compute_losses`."""
        return compute_losses(path, x.detach(), target, settings, summed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save what backward and forward mode need."""
        x, target, ctx.settings, ctx.path, ctx.summed = inputs
        ctx.save_for_backward(x, target)
        ctx.save_for_forward(x, target)
        ctx.set_materialize_grads(False)  # so that jvp sees which arguments have tangents

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        x, target = ctx.saved_tensors
        if grad_output is None:
            return (None,) * 5
        if is_legacy_batched(grad_output):  # is_grads_batched=True does not call vmap below
            gradient = (slopes(x, target, ctx.settings, ctx.path) * grad_output).to(x.dtype)
        else:
            gradient = FocalGradient.apply(x, grad_output, target, ctx.settings, ctx.path)
        return gradient, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, target_tangent: Tensor | None, *_: None) -> Tensor:
        """The losses' derivative along the logits' ``tangent``, (n, K); there is none along the targets'."""
        if target_tangent is not None:
            raise RuntimeError(
                f"halted focal loss has no forward-mode derivative by targets: {USE_THE_FORMULA}"
            )
        x, target = ctx.saved_tensors
        product = slopes(x, target, ctx.settings, ctx.path) * tangent
        return product.sum() if ctx.summed else product

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        x: Tensor,
        target: Tensor,
        settings: FocalSettings,
        path: str,
        summed: bool,
    ) -> tuple[Tensor, int]:
        """The losses of a batch of ``x`` or ``target`` or both: the rows of all elements together."""
        x, target = (batch_first(*pair, info.batch_size) for pair in ((x, in_dims[0]), (target, in_dims[1])))
        losses = FocalLoss.apply(x.flatten(0, 1), target.flatten(0, 1), settings, path, False).view(x.shape)
        return (losses.sum(dim=(1, 2)) if summed else losses), 0


class FocalGradient(torch.autograd.Function):
    """The gradient of :class:`FocalLoss`, itself not differentiable."""

    @staticmethod
    def forward(x: Tensor, grad_output: Tensor, target: Tensor, settings: FocalSettings, path: str) -> Tensor:
        """:func:`compute_gradient`."""
        return compute_gradient(path, x.detach(), grad_output.detach(), target, settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        """Raise RuntimeError."""
        raise RuntimeError(ONCE)

    jvp = backward

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        x: Tensor,
        grad_output: Tensor,
        target: Tensor,
        settings: FocalSettings,
        path: str,
    ) -> tuple[Tensor, int]:
        """The gradients of a batch: the rows of all elements together."""
        tensors = zip((x, grad_output, target), in_dims)
        x, grad_output, target = (batch_first(value, dim, info.batch_size) for value, dim in tensors)
        if grad_output.dim() == 1:
            grad_output = grad_output.view(-1, 1, 1)
        grad_output = grad_output.expand(x.shape).flatten(0, 1)
        gradient = FocalGradient.apply(x.flatten(0, 1), grad_output, target.flatten(0, 1), settings, path)
        return gradient.view(x.shape), 0


def slopes(x: Tensor, target: Tensor, settings: FocalSettings, path: str) -> Tensor:
    """Derivative of each element's loss by its logit, (n, K), in float32 or float64."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return FocalGradient.apply(wide, wide.new_ones(()), target, settings, path)


def batch_first(value: Tensor, dim: int | None, size: int) -> Tensor:
    """``value`` with its batch dimension ``dim`` first, or repeated ``size`` times where it has none."""
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
