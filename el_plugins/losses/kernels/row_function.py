"""Encouraging loss as one autograd node: some rows at a time forward, and again backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import rows
from el_plugins.losses.kernels.paths import chunk_rows, compiled, guarded, refuse_second_order


def find_losses(
    path: str, logits: Tensor, target: Tensor, kept: Tensor, terms: rows.Terms
) -> tuple[Tensor, Tensor, rows.RowState]:
    """Losses, log p of the targets and the state of some rows by ``path``: see :func:`rows.losses`."""
    if path == "triton":
        from el_plugins.losses.kernels import triton_rows  # not everyone has Triton

        if triton_rows.supports(logits.dtype, terms):
            return guarded(triton_rows.losses, plain_losses)(logits, target, kept, terms)
    function = compiled(rows.losses) if path == "compiled" else rows.losses
    logits = logits.detach()  # compiled code is made again for a tensor that requires a gradient
    *found, vanished = function(logits, target, kept, terms)
    if vanished:  # rare: a top class certain beyond what an exponential holds
        *found, _ = rows.losses(logits, target, kept, terms, apart=True)
    return tuple(found)


def plain_losses(
    logits: Tensor, target: Tensor, kept: Tensor, terms: rows.Terms
) -> tuple[Tensor, Tensor, rows.RowState]:
    """:func:`find_losses` by plain operations."""
    return find_losses("chunks", logits, target, kept, terms)


def find_gradient(
    path: str,
    logits: Tensor,
    target: Tensor,
    kept: Tensor,
    terms: rows.Terms,
    state: rows.RowState,
    upstream: Tensor,
) -> Tensor:
    """The gradient of some rows by ``path``, (n, V) in the logits' dtype: see :func:`rows.gradient`."""
    if state.top.dtype == torch.int64:  # as the Triton kernels leave it
        from el_plugins.losses.kernels import triton_rows

        return triton_rows.gradient(logits, target, kept, terms, state, upstream)
    function = compiled(rows.gradient) if path == "compiled" else rows.gradient
    gradient = function(logits.detach(), kept, terms, state, upstream)
    at_target = (state.at_target * upstream).masked_fill(~kept, 0).to(gradient.dtype)
    return gradient.scatter_(1, target, at_target)


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
        target, kept = target.unsqueeze(1), kept.unsqueeze(1)
        chunks = chunk_rows(logits, path)
        found = [find_losses(path, logits[c], target[c], kept[c], terms) for c in chunks]
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
        upstream = upstream.unsqueeze(1)
        output = logits.detach() if ctx.inplace else torch.empty_like(logits)
        for c in chunk_rows(logits, ctx.path):
            state = rows.RowState(*(value[c] for value in values))
            output[c] = find_gradient(ctx.path, logits[c], target[c], kept[c], ctx.terms, state, upstream[c])
        return output, None, None, None, None, None
