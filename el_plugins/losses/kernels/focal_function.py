"""Halted focal loss as one autograd node: some elements at a time forward, and again backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import focal_eager
from el_plugins.losses.kernels.backends import chunk_rows, compiled, guarded
from el_plugins.losses.kernels.focal_eager import Focal

USE_THE_FORMULA = "compute it inside \"with el_plugins.losses.kernels.use('formula')\""

# Torch 2.2 may lack it.
is_legacy_batchedtensor = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda tensor: False)


def find_losses(path: str, x: Tensor, target: Tensor, settings: Focal, summed: bool) -> Tensor:
    """Losses (n, K), or their sum, of logits (n, K) by ``path``, in float32 or float64.

    ``target`` is (n) class indices, or (n, K) of bool, integers 0 and 1, or floating in [0, 1].
    """
    if path == "triton" and has_triton(x, target):
        from el_plugins.losses.kernels import focal_triton  # not everyone has Triton

        return guarded(focal_triton.losses, plain_losses)(x, target, settings, summed)
    function = focal_eager.class_losses if target.dim() == 1 else focal_eager.dense_losses
    if path in ("compiled", "triton"):
        function = compiled(function)
    chunks = chunk_rows(x, path)
    # What is kept has its place before the first chunk: kept between the chunks' own it would scatter them.
    wide = torch.promote_types(x.dtype, torch.float32)
    losses = x.new_empty(len(chunks) if summed else x.shape, dtype=wide)
    for number, part in enumerate(chunks):
        place = losses[number] if summed else losses[part]
        place.copy_(function(x[part], target[part], settings, summed))
    return losses.sum() if summed else losses


def find_gradient(path: str, x: Tensor, grad_output: Tensor, target: Tensor, settings: Focal) -> Tensor:
    """Gradient of :func:`find_losses` times ``grad_output``, a scalar or (n, K), in the dtype of ``x``."""
    if path == "triton" and has_triton(x, target):
        from el_plugins.losses.kernels import focal_triton

        return guarded(focal_triton.gradient, plain_gradient)(x, grad_output, target, settings)
    function = focal_eager.class_gradient if target.dim() == 1 else focal_eager.dense_gradient
    if path in ("compiled", "triton"):
        function = compiled(function)
    gradient = torch.empty_like(x)
    grad_output = grad_output.expand(x.shape)
    for part in chunk_rows(x, path):
        function(gradient[part], x[part], grad_output[part], target[part], settings)
    return gradient


def has_triton(x: Tensor, target: Tensor) -> bool:
    """Whether the Triton kernel knows the case: class indices, and not double precision."""
    return target.dim() == 1 and x.dtype != torch.float64


def plain_losses(*arguments: Any) -> Tensor:
    """:func:`find_losses` by plain operations."""
    return find_losses("chunks", *arguments)


def plain_gradient(*arguments: Any) -> Tensor:
    """:func:`find_gradient` by plain operations."""
    return find_gradient("chunks", *arguments)


class FocalLoss(torch.autograd.Function):
    """Sum, or each element, of halted focal loss of (n, K) logits: float32 or float64.

    Keeps logits and targets alone; backward makes the gradient from them, as often as it is asked.
    """

    @staticmethod
    def forward(x: Tensor, target: Tensor, settings: Focal, path: str, summed: bool) -> Tensor:
        """:func:`find_losses`."""
        return find_losses(path, x.detach(), target, settings, summed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what backward and the forward mode need."""
        x, target, ctx.settings, ctx.path, ctx.summed = inputs
        ctx.save_for_backward(x, target)
        ctx.save_for_forward(x, target)
        ctx.set_materialize_grads(False)  # jvp has to know of which arguments there are tangents

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        x, target = ctx.saved_tensors
        if grad_output is None:
            return (None,) * 5
        if is_legacy_batchedtensor(grad_output):  # is_grads_batched=True: a vmap that asks for no rule
            gradient = (slopes(x, target, ctx.settings, ctx.path) * grad_output).to(x.dtype)
        else:
            gradient = FocalGradient.apply(x, grad_output, target, ctx.settings, ctx.path)
        return gradient, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, along_target: Tensor | None, *_: None) -> Tensor:
        """The losses' derivative along the logits' ``tangent``, (n, K); there is none along the targets'."""
        if along_target is not None:
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
        settings: Focal,
        path: str,
        summed: bool,
    ) -> tuple[Tensor, int]:
        """The losses of a batch of ``x``, or ``target``, or both: its rows together."""
        x, target = (batch_first(*pair, info.batch_size) for pair in ((x, in_dims[0]), (target, in_dims[1])))
        losses = FocalLoss.apply(x.flatten(0, 1), target.flatten(0, 1), settings, path, False).view(x.shape)
        return (losses.sum(dim=(1, 2)) if summed else losses), 0


class FocalGradient(torch.autograd.Function):
    """The gradient of :class:`FocalLoss`; itself without one."""

    @staticmethod
    def forward(x: Tensor, grad_output: Tensor, target: Tensor, settings: Focal, path: str) -> Tensor:
        """:func:`find_gradient`."""
        return find_gradient(path, x.detach(), grad_output.detach(), target, settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        """Raise RuntimeError."""
        raise RuntimeError(
            f"this loss is differentiable once: for second derivatives (create_graph=True) {USE_THE_FORMULA}"
        )

    jvp = backward

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        x: Tensor,
        grad_output: Tensor,
        target: Tensor,
        settings: Focal,
        path: str,
    ) -> tuple[Tensor, int]:
        """The gradients of a batch: its rows together."""
        tensors = zip((x, grad_output, target), in_dims)
        x, grad_output, target = (batch_first(value, dim, info.batch_size) for value, dim in tensors)
        if grad_output.dim() == 1:
            grad_output = grad_output.view(-1, 1, 1)
        grad_output = grad_output.expand(x.shape).flatten(0, 1)
        gradient = FocalGradient.apply(x.flatten(0, 1), grad_output, target.flatten(0, 1), settings, path)
        return gradient.view(x.shape), 0


def slopes(x: Tensor, target: Tensor, settings: Focal, path: str) -> Tensor:
    """Derivative of each element's loss by its logit, (n, K), in float32 or float64."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return FocalGradient.apply(wide, wide.new_ones(()), target, settings, path)


def batch_first(value: Tensor, dim: int | None, size: int) -> Tensor:
    """``value`` with its batch dimension ``dim`` first, or repeated ``size`` times where it has none."""
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
