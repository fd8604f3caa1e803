"""Encouraging loss as one autograd node: some rows at a time forward, and again backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import rows
from el_plugins.losses.kernels.paths import chunk_rows, compiled, guarded, refuse_second_order


def implementation(path: str, dtype: torch.dtype, terms: rows.Terms) -> tuple[Any, Any]:
    """The functions that do the work of ``rows.losses`` and ``rows.gradient`` on ``path``."""
    if path == "compiled":
        return compiled(rows.losses), compiled(rows.gradient)
    if path == "triton":
        from el_plugins.losses.kernels import triton_rows  # not everyone has Triton

        if triton_rows.supports(dtype, terms):
            return guarded(triton_rows.losses, rows.losses), guarded(triton_rows.gradient, rows.gradient)
    return rows.losses, rows.gradient


class RowLosses(torch.autograd.Function):
    """Loss of each row of (N, V) logits; never holds more than their gradient beside them.

    Backward computes the gradient from the logits again, so they must not have changed since (autograd
    checks that). With ``inplace`` it writes the gradient over them.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, kept: Tensor, terms: rows.Terms, path: str, inplace: bool
    ) -> tuple[Tensor, Tensor]:
        """Losses (N) and log p of the targets (N), float32 or float64, which has no gradient.

        Args:
            ctx: autograd's.
            logits: (N, V), floating.
            target: (N), class indices within range.
            kept: (N), bool; the others give exactly 0.
            terms: see :class:`~el_plugins.losses.kernels.rows.Terms`.
            path: ``chunks``, ``compiled`` or ``triton``.
            inplace: let backward overwrite ``logits``.
        """
        function, _ = implementation(path, logits.dtype, terms)
        target, kept = target.unsqueeze(1), kept.unsqueeze(1)
        found = [function(logits[c], target[c], kept[c], terms) for c in chunk_rows(logits, path)]
        losses, log_p, states = zip(*found)
        state = rows.RowState(*(torch.cat(values) for values in zip(*states)))
        ctx.save_for_backward(logits, target, kept, *state)
        ctx.terms, ctx.path, ctx.inplace = terms, path, inplace
        output = torch.cat(log_p).squeeze(1)
        ctx.mark_non_differentiable(output)
        return torch.cat(losses).squeeze(1), output

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        refuse_second_order()
        logits, target, kept, *values = ctx.saved_tensors
        _, function = implementation(ctx.path, logits.dtype, ctx.terms)
        upstream = upstream.unsqueeze(1)
        output = logits.detach() if ctx.inplace else torch.empty_like(logits)
        for c in chunk_rows(logits, ctx.path):
            state = rows.RowState(*(value[c] for value in values))
            output[c] = function(logits[c], target[c], kept[c], ctx.terms, state, upstream[c])
        return output, None, None, None, None, None
