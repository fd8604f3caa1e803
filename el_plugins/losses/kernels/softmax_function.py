"""Encouraging loss as one autograd node: a chunk of rows at a time in forward, and again in backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.memory import overlaps
from el_plugins.losses.kernels.softmax_chunked import compute_losses, write_gradient
from el_plugins.losses.kernels.transforms import Gradient, Kernel, is_transformed, refuse_batched


class RowLosses(Kernel):
    """Loss of each row of (N, V) logits, which needs no more memory beside them than their gradient.

    Backward computes the gradient from the logits, so they must not have changed since forward (autograd
    checks that). With ``inplace`` it writes the gradient over them.
    """

    @staticmethod
    def forward(
        logits: Tensor,
        target: Tensor,
        valid: Tensor,
        options: softmax.KernelOptions,
        path: str,
        inplace: bool,
    ) -> tuple[Tensor, ...]:
        """Losses (N), float32 or float64; without gradients, log p of the targets (N) and the rows' state.

        Args:
            logits: (N, V), floating.
            target: (N), class indices within range.
            valid: (N), bool; the other rows give exactly 0.
            options: see :class:`~el_plugins.losses.kernels.softmax.KernelOptions`.
            path: ``chunks``, ``compiled`` or ``triton``.
            inplace: let backward overwrite ``logits``, unless rows of them share memory.
        """
        losses, log_p, state = compute_losses(path, logits, target.unsqueeze(1), valid.unsqueeze(1), options)
        return losses.squeeze(1), log_p.squeeze(1), *state

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save what backward needs."""
        logits, target, valid, options, path, inplace = inputs
        _, log_p, *state = output
        # The weight is saved for autograd to check that it has not changed since.
        ctx.save_for_backward(logits, target, valid, options.weight, *state)
        ctx.options, ctx.path, ctx.inplace = options, path, inplace and not overlaps(logits)
        ctx.mark_non_differentiable(log_p, *state)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        gradient = None
        if grad_output is not None:
            refuse_batched(grad_output)
            logits, target, valid, _, *state = ctx.saved_tensors
            # A transform, or a derivative of this one, needs a function that leaves its input unchanged.
            inplace = ctx.inplace and not torch.is_grad_enabled() and not is_transformed()
            run = RowGradient.forward if inplace else RowGradient.apply
            gradient = run(grad_output, logits, target, valid, ctx.options, ctx.path, inplace, *state)
        return gradient, None, None, None, None, None


class RowGradient(Gradient):
    """The gradient of :class:`RowLosses`."""

    @staticmethod
    def forward(
        grad_output: Tensor,
        logits: Tensor,
        target: Tensor,
        valid: Tensor,
        options: softmax.KernelOptions,
        path: str,
        inplace: bool,
        *state: Tensor,
    ) -> Tensor:
        """The gradient of the logits (N, V), in their place if ``inplace``, for ``grad_output`` (N)."""
        logits = logits.detach()
        output = logits if inplace else torch.empty_like(logits)
        target, valid, grad_output = (x.unsqueeze(1) for x in (target, valid, grad_output))
        write_gradient(path, output, logits, target, valid, options, softmax.RowState(*state), grad_output)
        return output
