"""Encouraging loss straight from hidden states: the logits of some rows at a time, never all of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.softmax_function import find_losses, write_gradient
from el_plugins.losses.kernels.transforms import Gradient, Kernel, refuse_batched, refuse_second_order

ELEMENTS = 2**22  # logits at a time: 16 MiB in fp32


def rows_at_a_time(count: int, classes: int) -> int:
    """How many rows' logits exist at once: some 4 million logits, more rows where that would be few.

    At least 128 rows, or a sixteenth of all if that is less, since every chunk adds to the whole
    gradient of the matrix, which few rows would not pay for.
    """
    return max(ELEMENTS // max(classes, 1), min(128, count // 16), 1)


class LinearLoss(torch.autograd.Function):
    """Sum of the losses of all rows of ``input @ matrix.T + bias``, whose gradients forward makes.

    Every row's upstream gradient is the same number, by which backward scales the gradients where they stand,
    once. Not for torch.func, whose transforms see the outputs alone.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        kept: Tensor,
        terms: softmax.Terms,
        path: str,
    ) -> tuple[Tensor, Tensor]:
        """The sum, and log p of the targets (N) without a gradient; arguments of :class:`LinearRowLosses`."""
        wanted = [bool(needed) for needed in ctx.needs_input_grad[:3]]
        target, kept = target.unsqueeze(1), kept.unsqueeze(1)
        ones = torch.ones_like(target, dtype=torch.promote_types(input.dtype, torch.float32))
        upstream = ones if any(wanted) else None
        losses, log_p, gradients = walk(input, matrix, bias, target, kept, terms, path, upstream, wanted)
        ctx.gradients, ctx.dtype = gradients, input.dtype
        ctx.mark_non_differentiable(log_p)
        return losses.sum(), log_p

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias in their dtypes."""
        refuse_second_order()
        refuse_batched(upstream)
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError(
                "linear_encouraging_loss has handed out its gradients: a second backward through it "
                "needs reduction='none'"
            )
        gradients = [None if g is None else g.mul_(upstream).to(ctx.dtype) for g in gradients]
        return (*gradients, None, None, None, None)

    jvp = Kernel.jvp


class LinearRowLosses(Kernel):
    """Loss of each row of ``input @ matrix.T + bias``; backward computes the logits again."""

    @staticmethod
    def forward(
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        kept: Tensor,
        terms: softmax.Terms,
        path: str,
    ) -> tuple[Tensor, Tensor]:
        """Losses (N), and log p of the targets (N) without a gradient.

        Args:
            input: (N, D), floating.
            matrix: (V, D), in input's dtype.
            bias: (V) or None.
            target: (N), class indices within range.
            kept: (N), bool; the others give exactly 0.
            terms: see :class:`~el_plugins.losses.kernels.softmax.Terms`.
            path: ``chunks``, ``compiled`` or ``triton``.
        """
        target, kept = target.unsqueeze(1), kept.unsqueeze(1)
        losses, log_p, _ = walk(input, matrix, bias, target, kept, terms, path, None, [False] * 3)
        return losses, log_p

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what backward needs."""
        *tensors, terms, path = inputs
        ctx.save_for_backward(*tensors, terms.weight)  # the weight for autograd to notice a change of it
        ctx.terms, ctx.path = terms, path
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias in their dtypes."""
        refuse_batched(upstream)
        wanted = tuple(bool(needed) for needed in ctx.needs_input_grad[:3])
        tensors = ctx.saved_tensors[:5]
        gradients = LinearRowGradients.apply(upstream, *tensors, ctx.terms, ctx.path, wanted)
        return (*gradients, None, None, None, None)


class LinearRowGradients(Gradient):
    """The gradients of :class:`LinearRowLosses`."""

    @staticmethod
    def forward(
        upstream: Tensor,
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        kept: Tensor,
        terms: softmax.Terms,
        path: str,
        wanted: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias, those that are wanted, for ``upstream`` (N)."""
        target, kept, upstream = (x.unsqueeze(1) for x in (target, kept, upstream))
        # The dtypes are those of forward. The meta device has no autocast.
        with nullcontext() if upstream.is_meta else torch.autocast(upstream.device.type, enabled=False):
            _, _, gradients = walk(input, matrix, bias, target, kept, terms, path, upstream, wanted)
        return tuple(None if g is None else g.to(input.dtype) for g in gradients)


def walk(
    input: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    target: Tensor,
    kept: Tensor,
    terms: softmax.Terms,
    path: str,
    upstream: Tensor | None,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Losses (N), log p of the targets (N) and, given ``upstream`` (N, 1), the gradients that are wanted.

    The gradients of matrix and bias stay in the float32 in which they are summed where they are narrower.
    """
    wide = torch.promote_types(input.dtype, torch.float32)
    d_input = torch.empty_like(input) if wanted[0] else None
    d_matrix = torch.zeros_like(matrix, dtype=wide) if wanted[1] else None
    d_bias = None if bias is None or not wanted[2] else torch.zeros_like(bias, dtype=wide)
    losses, all_log_p = (torch.empty_like(target, dtype=wide) for _ in range(2))
    for start in range(0, max(len(input), 1), step := rows_at_a_time(len(input), len(matrix))):
        here = slice(start, start + step)
        logits = F.linear(input[here], matrix, bias)
        t, k = target[here], kept[here]
        losses[here], all_log_p[here], state = find_losses(path, logits, t, k, terms)
        if upstream is None:
            continue
        write_gradient(path, logits, logits, t, k, terms, state, upstream[here])
        if d_input is not None:
            torch.mm(logits, matrix, out=d_input[here])
        if d_matrix is not None:
            if wide == logits.dtype:
                d_matrix.addmm_(logits.t(), input[here])
            else:
                d_matrix += logits.t() @ input[here]
        if d_bias is not None:
            d_bias += logits.sum(dim=0, dtype=wide)
        del logits, state  # before the next are made
    return losses.squeeze(1), all_log_p.squeeze(1), [d_input, d_matrix, d_bias]
