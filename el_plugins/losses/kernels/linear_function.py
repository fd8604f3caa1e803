"""Encouraging loss straight from hidden states: the logits of some rows at a time, never all of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.kernels import rows
from el_plugins.losses.kernels.paths import refuse_second_order
from el_plugins.losses.kernels.row_function import find_losses, write_gradient

ELEMENTS = 2**22  # logits at a time: 16 MiB in fp32


def rows_at_a_time(count: int, classes: int) -> int:
    """How many rows' logits exist at once: some 4 million logits, more rows where that would be few.

    At least 128 rows, or a sixteenth of all if that is less, since every chunk adds to the whole
    gradient of the matrix, which few rows would not pay for.
    """
    return max(ELEMENTS // max(classes, 1), min(128, count // 16), 1)


class LinearRowLosses(torch.autograd.Function):
    """Loss of each row of ``input @ matrix.T + bias``, or their sum, whose gradients forward can make.

    Summed, every row's upstream gradient is the same number: forward computes the gradients and backward
    scales them where they stand, once. Row by row, backward computes the logits again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        kept: Tensor,
        terms: rows.Terms,
        path: str,
        summed: bool,
    ) -> tuple[Tensor, Tensor]:
        """Losses (N) or their sum, and log p of the targets (N) without a gradient.

        Args:
            ctx: autograd's.
            input: (N, D), floating.
            matrix: (V, D), in input's dtype.
            bias: (V) or None.
            target: (N), class indices within range.
            kept: (N), bool; the others give exactly 0.
            terms: see :class:`~el_plugins.losses.kernels.rows.Terms`.
            path: ``chunks``, ``compiled`` or ``triton``.
            summed: give the sum.
        """
        ctx.terms, ctx.path, ctx.summed, ctx.dtype = terms, path, summed, input.dtype
        ctx.gradients = None
        wanted = [bool(needed) for needed in ctx.needs_input_grad[:3]]
        target, kept = target.unsqueeze(1), kept.unsqueeze(1)
        if summed and any(wanted):
            ones = torch.ones_like(target, dtype=torch.promote_types(input.dtype, torch.float32))
            losses, log_p, ctx.gradients = walk(input, matrix, bias, target, kept, terms, path, ones, wanted)
        else:
            losses, log_p, _ = walk(input, matrix, bias, target, kept, terms, path, None, wanted)
            ctx.save_for_backward(input, matrix, bias, target, kept, terms.weight)
        ctx.mark_non_differentiable(log_p)
        return losses.sum() if summed else losses, log_p

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, matrix and bias in their dtypes."""
        refuse_second_order()
        if ctx.summed:
            gradients, ctx.gradients = ctx.gradients, None
            if gradients is None:
                raise RuntimeError(
                    "linear_encouraging_loss has handed out its gradients: a second backward through it "
                    "needs reduction='none'"
                )
            gradients = [None if g is None else g.mul_(upstream) for g in gradients]
        else:
            wanted = [bool(needed) for needed in ctx.needs_input_grad[:3]]
            arguments = (*ctx.saved_tensors[:5], ctx.terms, ctx.path, upstream.unsqueeze(1), wanted)
            with torch.autocast(upstream.device.type, enabled=False):  # the dtypes are those of forward
                _, _, gradients = walk(*arguments)
        gradients = [None if g is None else g.to(ctx.dtype) for g in gradients]
        return (*gradients, None, None, None, None, None)


def walk(
    input: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    target: Tensor,
    kept: Tensor,
    terms: rows.Terms,
    path: str,
    upstream: Tensor | None,
    wanted: list[bool],
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
