"""Encouraging loss directly from hidden states: the logits exist for a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.linear_chunks import add_product, rows_at_a_time
from el_plugins.losses.kernels.softmax_rows import overwrite_by_gradient
from el_plugins.losses.kernels.transforms import Gradient, Kernel, refuse_batched, refuse_second_order


class LinearLoss(torch.autograd.Function):
    """Sum of the losses of all rows of ``input @ matrix.T + bias``; forward computes the gradients.

    All rows have the same ``grad_output``, by which backward scales the gradients in place, once. Not for
    torch.func, whose transforms see only the outputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        valid: Tensor,
        options: softmax.KernelOptions,
        path: str,
    ) -> tuple[Tensor, Tensor]:
        """The sum, and log p of the targets (N) without a gradient; arguments of :class:`LinearRowLosses`."""
        needs_grad = [bool(needed) for needed in ctx.needs_input_grad[:3]]
        target, valid = target.unsqueeze(1), valid.unsqueeze(1)
        ones = torch.ones_like(target, dtype=torch.promote_types(input.dtype, torch.float32))
        grad_output = ones if any(needs_grad) else None
        losses, log_p, gradients = chunked_forward_backward(
            input, matrix, bias, target, valid, options, path, grad_output, needs_grad
        )
        ctx.gradients, ctx.dtype, ctx.has_target = gradients, input.dtype, valid.any()
        ctx.mark_non_differentiable(log_p)
        return losses.sum(), log_p

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias in their dtypes."""
        refuse_second_order()
        refuse_batched(grad_output)
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError(
                "linear_encouraging_loss has already returned its gradients: a second backward through it "
                "needs reduction='none'"
            )
        # A sum over no targets that is divided by their number, 0, has no gradient, as in torch.
        grad_output = torch.where(ctx.has_target, grad_output, 0)
        gradients = [None if g is None else product(g, grad_output, ctx.dtype) for g in gradients]
        return (*gradients, None, None, None, None)

    jvp = Kernel.jvp


def product(gradient: Tensor, grad_output: Tensor, dtype: torch.dtype) -> Tensor:
    """``gradient``, no longer needed, times the scalar ``grad_output``, in ``dtype``: in one pass."""
    output = gradient if gradient.dtype == dtype else torch.empty_like(gradient, dtype=dtype)
    return torch.mul(gradient, grad_output, out=output)


class LinearRowLosses(Kernel):
    """Loss of each row of ``input @ matrix.T + bias``; backward recomputes the logits."""

    @staticmethod
    def forward(
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        valid: Tensor,
        options: softmax.KernelOptions,
        path: str,
    ) -> tuple[Tensor, Tensor]:
        """Losses (N), and log p of the targets (N) without a gradient.

        Args:
            input: (N, D), floating.
            matrix: (V, D), in input's dtype.
            bias: (V) or None.
            target: (N), class indices within range.
            valid: (N), bool; the other rows give exactly 0.
            options: see :class:`~el_plugins.losses.kernels.softmax.KernelOptions`.
            path: ``chunks``, ``compiled`` or ``triton``.
        """
        target, valid = target.unsqueeze(1), valid.unsqueeze(1)
        losses, log_p, _ = chunked_forward_backward(
            input, matrix, bias, target, valid, options, path, None, [False] * 3
        )
        return losses, log_p

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Save what backward needs."""
        *tensors, options, path = inputs
        # The weight is saved for autograd to check that it has not changed since.
        ctx.save_for_backward(*tensors, options.weight)
        ctx.options, ctx.path = options, path
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias in their dtypes."""
        refuse_batched(grad_output)
        needs_grad = tuple(bool(needed) for needed in ctx.needs_input_grad[:3])
        tensors = ctx.saved_tensors[:5]
        gradients = LinearRowGradients.apply(grad_output, *tensors, ctx.options, ctx.path, needs_grad)
        return (*gradients, None, None, None, None)


class LinearRowGradients(Gradient):
    """The gradients of :class:`LinearRowLosses`."""

    @staticmethod
    def forward(
        grad_output: Tensor,
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        valid: Tensor,
        options: softmax.KernelOptions,
        path: str,
        needs_grad: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias, None where not needed, for ``grad_output`` (N)."""
        target, valid, grad_output = (x.unsqueeze(1) for x in (target, valid, grad_output))
        # The dtypes are those of forward. The meta device has no autocast.
        with nullcontext() if grad_output.is_meta else torch.autocast(grad_output.device.type, enabled=False):
            _, _, gradients = chunked_forward_backward(
                input, matrix, bias, target, valid, options, path, grad_output, needs_grad
            )
        return tuple(None if g is None else g.to(input.dtype) for g in gradients)


def chunked_forward_backward(
    input: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    target: Tensor,
    valid: Tensor,
    options: softmax.KernelOptions,
    path: str,
    grad_output: Tensor | None,
    needs_grad: Sequence[bool],
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Losses (N), log p of the targets (N) and, given ``grad_output`` (N, 1), the gradients that are needed.

    ``target`` and ``valid`` are (N, 1). The gradients of a narrow matrix and bias are returned in the float32
    in which they are summed.
    """
    wide = torch.promote_types(input.dtype, torch.float32)
    d_input = torch.empty_like(input) if needs_grad[0] else None
    d_matrix = torch.zeros_like(matrix, dtype=wide) if needs_grad[1] else None
    d_bias = None if bias is None or not needs_grad[2] else torch.zeros_like(bias, dtype=wide)
    losses, all_log_p = (torch.empty_like(target, dtype=wide) for _ in range(2))
    for start in range(0, max(len(input), 1), step := rows_at_a_time(input, len(matrix))):
        here = slice(start, start + step)
        logits = F.linear(input[here], matrix, bias)
        rows = target[here], valid[here], options
        upstream = None if grad_output is None else grad_output[here]
        losses[here], all_log_p[here] = overwrite_by_gradient(path, logits, *rows, upstream)
        if d_input is not None:
            torch.mm(logits, matrix, out=d_input[here])
        if d_matrix is not None:
            add_product(d_matrix, logits.t(), input[here])
        if d_bias is not None:
            d_bias += logits.sum(dim=0, dtype=wide)
        del logits  # before the next ones are computed
    return losses.squeeze(1), all_log_p.squeeze(1), [d_input, d_matrix, d_bias]
