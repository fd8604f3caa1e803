"""Encouraging loss by a Triton kernel as autograd nodes: of each row, and summed, with an early gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax, softmax_fused
from el_plugins.losses.kernels.scaling import scale_
from el_plugins.losses.kernels.softmax_rows import losses_and_gradient
from el_plugins.losses.kernels.transforms import (
    Gradient,
    Kernel,
    is_transformed,
    refuse_batched,
    refuse_second_order,
)


class TotalLoss(torch.autograd.Function):
    """Sum of the losses of all rows; forward computes the gradient too, so the logits are read once.

    All rows have the same ``grad_output``, by which backward scales the gradient in place, once; a second
    backward computes it anew. With ``inplace`` forward writes the gradient over the logits, and a second
    backward is refused, as autograd refuses what was modified. Not for torch.func, whose transforms see only
    the outputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        options: softmax.KernelOptions,
        parts: Tensor | None,
        inplace: bool,
        path: str,
    ) -> tuple[Tensor, Tensor]:
        """The sum, and log p of the targets (N) without a gradient.

        Arguments are those of :class:`KernelRowLosses`; ``path`` is ``triton``, or ``compiled`` on a CPU.
        """
        rows = logits.detach()
        gradient = rows if inplace else torch.empty_like(rows)
        run = by_path(path)
        losses, log_p = run(rows, target, ignore_index, options, parts, None, gradient)
        if inplace:
            mark_written(rows)
        ctx.save_for_backward(logits, target, options.weight, parts)
        ctx.path = path
        ctx.inplace, ctx.gradient = inplace, None if inplace else gradient
        ctx.ignore_index, ctx.options = ignore_index, options
        ctx.mark_non_differentiable(log_p)
        ctx.set_materialize_grads(False)  # of log p, which has none
        return losses.sum(), log_p

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        if grad_output is None:
            return (None,) * 7
        refuse_second_order()
        refuse_batched(grad_output)
        # Once returned the gradient is the caller's, who may change it.
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is not None:
            return scale_(ctx.path, gradient, grad_output), *[None] * 6
        logits, target, _, parts = ctx.saved_tensors
        rows = logits.detach()
        if ctx.inplace:
            scale_(ctx.path, rows, grad_output)
            mark_written(rows)
            return rows, *[None] * 6
        gradient = torch.empty_like(rows)
        by_path(ctx.path)(rows, target, ctx.ignore_index, ctx.options, parts, grad_output, gradient)
        return gradient, *[None] * 6

    jvp = Kernel.jvp


def by_path(path: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """What computes losses and gradient of rows by ``path``."""
    return softmax_fused.losses_and_gradient if path == "compiled" else losses_and_gradient


class KernelRowLosses(Kernel):
    """Loss of each row; backward computes the gradient from the logits, over them with ``inplace``."""

    @staticmethod
    def forward(
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        options: softmax.KernelOptions,
        parts: Tensor | None,
        inplace: bool,
    ) -> tuple[Tensor, Tensor]:
        """Losses (N) in float32, and log p of the targets (N) without a gradient.

        Args:
            logits: (batch, rows, V) with batch * rows = N, float32 or narrower.
            target: (N), class indices or ``ignore_index``.
            ignore_index: the target of rows that give exactly 0.
            options: see :class:`~el_plugins.losses.kernels.softmax.KernelOptions`.
            parts: numbers whose sum divides the losses, None for 1.
            inplace: let backward overwrite ``logits``, whose elements then do not share memory.
        """
        return losses_and_gradient(logits.detach(), target, ignore_index, options, parts, None, None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save the inputs."""
        logits, target, ignore_index, options, parts, inplace = inputs
        # The weight is saved for autograd to check that it has not changed since.
        ctx.save_for_backward(logits, target, parts, options.weight)
        ctx.ignore_index, ctx.options, ctx.inplace = ignore_index, options, inplace
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        if grad_output is None:
            return (None,) * 6
        refuse_batched(grad_output)
        logits, target, parts, _ = ctx.saved_tensors
        # A transform, or a derivative of this one, needs a function that leaves its input unchanged.
        inplace = ctx.inplace and not torch.is_grad_enabled() and not is_transformed()
        run = KernelRowGradient.forward if inplace else KernelRowGradient.apply
        gradient = run(grad_output, logits, target, ctx.ignore_index, ctx.options, parts, inplace)
        return gradient, None, None, None, None, None


class KernelRowGradient(Gradient):
    """The gradient of :class:`KernelRowLosses`."""

    @staticmethod
    def forward(
        grad_output: Tensor,
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        options: softmax.KernelOptions,
        parts: Tensor | None,
        inplace: bool,
    ) -> Tensor:
        """The gradient of the logits, in their place if ``inplace``, for ``grad_output`` (N)."""
        rows = logits.detach()
        gradient = rows if inplace else torch.empty_like(rows)
        losses_and_gradient(rows, target, ignore_index, options, parts, grad_output, gradient)
        if inplace:
            mark_written(rows)
        return gradient


def mark_written(x: Tensor) -> None:
    """Tell autograd that ``x`` was changed, which it does not see a kernel do."""
    torch.autograd.graph.increment_version(x)
