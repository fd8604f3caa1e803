"""Encouraging loss as one autograd node: some rows at a time forward, and again backward."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.kernels import softmax, softmax_eager
from el_plugins.losses.kernels.backends import CHUNKS, chunk_rows, compiled
from el_plugins.losses.kernels.fallback import guarded
from el_plugins.losses.kernels.transforms import Gradient, Kernel, is_transformed, refuse_batched
from el_plugins.losses.validation import any_true

# The sum of exp(z - top) beside the top class under which a row refers to its second logit: so certain a top
# class leaves the others few digits, at last none, and a slope that overflows.
VANISHING = 2.0**-40


def find_losses(
    path: str, logits: Tensor, target: Tensor, kept: Tensor, terms: softmax.Terms
) -> tuple[Tensor, Tensor, softmax.RowState]:
    """Losses (n, 1), log p of the targets (n, 1) and the state of rows (n, V) by ``path``.

    Arguments are those of :func:`softmax.losses`.
    """
    logits = logits.detach()  # compiled code is made again for a tensor that requires a gradient
    figures = measure(path, logits, kept, terms)
    z_target = logits.gather(1, target).to(figures.top.dtype)
    return softmax.losses(figures, z_target, target, kept, terms)


def measure(path: str, logits: Tensor, kept: Tensor, terms: softmax.Terms) -> softmax.Figures:
    """Figures of all rows by ``path``."""
    if path == "triton" and has_triton(logits, terms):
        from el_plugins.losses.kernels import softmax_triton  # not everyone has Triton

        return guarded(softmax_triton.measure, measure_plainly)(logits, kept, terms)
    function, columns = softmax_eager.measure, None
    wide = torch.promote_types(logits.dtype, torch.float32)
    if path == "compiled":
        function = compiled(softmax_eager.measure)
        columns = torch.arange(logits.size(1), dtype=wide, device=logits.device)
    terms = general(terms, path, like=logits)
    # Kept chunk by chunk, figures would lie between the large tensors, whose memory could not be used again.
    figures = softmax.Figures(
        *(logits.new_empty(len(logits), 1, dtype=wide) for _ in softmax.Figures._fields)
    )
    figures = figures._replace(top_class=torch.empty_like(figures.top, dtype=torch.int64))
    # To ask a GPU whether any row needs the pass more would take longer than that pass.
    apart = logits.device.type != "cpu"
    chunks = chunk_rows(logits, path)
    for c in chunks:
        for whole, part in zip(figures, function(logits[c], terms, columns, apart)):
            whole[c] = part
    for again in [] if apart else vanishing(figures.total, kept, logits.size(1), chunks):
        for whole, part in zip(figures, softmax_eager.measure(logits[again], terms, apart=True)):
            whole[again] = part
    return figures


def vanishing(total: Tensor, kept: Tensor, classes: int, chunks: list[slice]) -> Sequence[slice | Tensor]:
    """Rows, some at a time, whose ``total`` beside the top class is too small; all where no value is read."""
    small = (total < VANISHING) & kept
    found = any_true(small)
    if not found:
        return chunks if found is None else []
    return small.squeeze(1).nonzero().squeeze(1).split(max(CHUNKS["chunks"] // classes, 1))


def general(terms: softmax.Terms, path: str, like: Tensor) -> softmax.Terms:
    """``terms`` without the numbers for each of which code would be made: those that differ by vocabulary,
    and, as a tensor, the weight of the bonus, which changes at every update where it is scheduled."""
    terms = terms._replace(on_target=0.0, elsewhere=1.0 if terms.elsewhere else 0.0)
    return terms._replace(bonus=with_dynamic_weight(terms.bonus, path, like))


def with_dynamic_weight(bonus: Bonus, path: str, like: Tensor) -> Bonus:
    """``bonus`` with its weight as a tensor where a number would be a constant of compiled code."""
    if path != "compiled" or bonus.is_nothing:
        return bonus
    wide = torch.promote_types(like.dtype, torch.float32)
    return dataclasses.replace(bonus, weight=torch.as_tensor(bonus.weight, dtype=wide, device=like.device))


def measure_plainly(logits: Tensor, kept: Tensor, terms: softmax.Terms) -> softmax.Figures:
    """:func:`measure` by plain operations."""
    return measure("chunks", logits, kept, terms)


def has_triton(logits: Tensor, terms: softmax.Terms) -> bool:
    """Whether the Triton kernels know the case: not double precision; smoothed, only plain terms."""
    return logits.dtype != torch.float64 and (terms.are_plain or not terms.elsewhere)


def write_gradient(
    path: str,
    output: Tensor,
    logits: Tensor,
    target: Tensor,
    kept: Tensor,
    terms: softmax.Terms,
    state: softmax.RowState,
    upstream: Tensor,
) -> None:
    """Write the gradient of rows times ``upstream``, (n, 1), into ``output``, (n, V), maybe ``logits``."""
    upstream = upstream.masked_fill(~kept, 0)
    gradient(path, output, logits, kept, terms, state, upstream)
    output.scatter_(1, state.top_class, (state.at_top * upstream).to(output.dtype))
    output.scatter_(1, target, (state.at_target * upstream).to(output.dtype))


def gradient(
    path: str,
    output: Tensor,
    logits: Tensor,
    kept: Tensor,
    terms: softmax.Terms,
    state: softmax.RowState,
    upstream: Tensor,
) -> None:
    """:func:`write_gradient` of all but the rows' top classes and targets."""
    if path == "triton" and has_triton(logits, terms):
        from el_plugins.losses.kernels import softmax_triton

        guarded(softmax_triton.gradient, gradient_plainly)(output, logits, kept, terms, state, upstream)
        return
    function = compiled(softmax_eager.gradient) if path == "compiled" else softmax_eager.gradient
    share, terms = terms.elsewhere * upstream, general(terms, path, like=logits)
    # Nothing times NaN is NaN: rows that are left out for what they hold need more than an upstream of 0.
    broken = ~kept & ~state.reference.isfinite()
    found = any_true(broken)
    for c in chunk_rows(logits, path):
        part = output[c]
        z = part if output is logits else logits[c]
        here = softmax.RowState(*(value[c] for value in state))
        function(part, z, terms, here, upstream[c], share[c], broken[c] if found is None else None)
    if found:
        output.index_fill_(0, broken.squeeze(1).nonzero().squeeze(1), 0)


def gradient_plainly(*arguments: Any) -> None:
    """:func:`gradient` by plain operations."""
    gradient("chunks", *arguments)


def overlaps(logits: Tensor) -> bool:
    """Whether elements of ``logits``, (n, V), may share memory, as in an expanded or unfolded tensor."""
    (rows_, columns), (across, along) = logits.shape, logits.stride()
    apart = across >= columns * along > 0 or along >= rows_ * across > 0
    return logits.numel() > 1 and not apart


class RowLosses(Kernel):
    """Loss of each row of (N, V) logits; never holds more than their gradient beside them.

    Backward computes the gradient from the logits again, so they must not have changed since (autograd
    checks that). With ``inplace`` it writes the gradient over them.
    """

    @staticmethod
    def forward(
        logits: Tensor, target: Tensor, kept: Tensor, terms: softmax.Terms, path: str, inplace: bool
    ) -> tuple[Tensor, ...]:
        """Losses (N), float32 or float64, and without gradients log p of the targets (N) and the rows' state.

        Args:
            logits: (N, V), floating.
            target: (N), class indices within range.
            kept: (N), bool; the others give exactly 0.
            terms: see :class:`~el_plugins.losses.kernels.softmax.Terms`.
            path: ``chunks``, ``compiled`` or ``triton``.
            inplace: let backward overwrite ``logits``, unless rows of them share memory.
        """
        losses, log_p, state = find_losses(path, logits, target.unsqueeze(1), kept.unsqueeze(1), terms)
        return losses.squeeze(1), log_p.squeeze(1), *state

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what backward needs."""
        logits, target, kept, terms, path, inplace = inputs
        _, log_p, *state = output
        # The weight among them, for autograd to notice when it has changed since.
        ctx.save_for_backward(logits, target, kept, terms.weight, *state)
        ctx.terms, ctx.path, ctx.inplace = terms, path, inplace and not overlaps(logits)
        ctx.mark_non_differentiable(log_p, *state)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        gradient = None
        if upstream is not None:
            refuse_batched(upstream)
            logits, target, kept, _, *state = ctx.saved_tensors
            # Whoever transforms or differentiates this needs a function, and its input as it is.
            inplace = ctx.inplace and not torch.is_grad_enabled() and not is_transformed()
            run = RowGradient.forward if inplace else RowGradient.apply
            gradient = run(upstream, logits, target, kept, ctx.terms, ctx.path, inplace, *state)
        return gradient, None, None, None, None, None


class RowGradient(Gradient):
    """The gradient of :class:`RowLosses`."""

    @staticmethod
    def forward(
        upstream: Tensor,
        logits: Tensor,
        target: Tensor,
        kept: Tensor,
        terms: softmax.Terms,
        path: str,
        inplace: bool,
        *state: Tensor,
    ) -> Tensor:
        """The gradient of the logits (N, V), in their place if ``inplace``, for ``upstream`` (N)."""
        logits = logits.detach()
        output = logits if inplace else torch.empty_like(logits)
        target, kept, upstream = (x.unsqueeze(1) for x in (target, kept, upstream))
        write_gradient(path, output, logits, target, kept, terms, softmax.RowState(*state), upstream)
        return output
