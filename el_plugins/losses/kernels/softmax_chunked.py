"""Losses and gradients of rows by plain operations or compiled ones, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax, softmax_eager
from el_plugins.losses.kernels.chunks import CHUNK_ELEMENTS, chunk_rows
from el_plugins.losses.kernels.compile_cache import compiled, with_dynamic_weight
from el_plugins.losses.validation import any_true

# Where exp(z - top) sums to less than this beside the top class, the second logit is the reference instead:
# relative to the top one, the other classes lose digits and at last vanish, and the gradient overflows.
VANISHING = 2.0**-40


def compute_losses(
    path: str, logits: Tensor, target: Tensor, valid: Tensor, options: softmax.KernelOptions
) -> tuple[Tensor, Tensor, softmax.RowState]:
    """Losses (n, 1), log p of the targets (n, 1) and the state of rows (n, V) by ``path``.

    Arguments are those of :func:`softmax.losses`.
    """
    logits = logits.detach()  # code would be compiled anew for a tensor that requires a gradient
    stats = row_stats(path, logits, valid, options)
    z_target = logits.gather(1, target).to(stats.top.dtype)
    return softmax.losses(stats, z_target, target, valid, options)


def row_stats(path: str, logits: Tensor, valid: Tensor, options: softmax.KernelOptions) -> softmax.RowStats:
    """Statistics of all rows by ``path``."""
    function, columns = softmax_eager.row_stats, None
    wide = torch.promote_types(logits.dtype, torch.float32)
    if path == "compiled":
        function = compiled(softmax_eager.row_stats)
        columns = torch.arange(logits.size(1), dtype=wide, device=logits.device)
    options = vocab_independent(options, path, like=logits)
    # Allocated before the chunks: between their large temporaries, small results would fragment memory.
    stats = softmax.RowStats(
        *(logits.new_empty(len(logits), 1, dtype=wide) for _ in softmax.RowStats._fields)
    )
    stats = stats._replace(top_class=torch.empty_like(stats.top, dtype=torch.int64))
    # On a GPU, asking whether any row needs the second pass takes longer than the pass.
    relative_to_second = logits.device.type != "cpu"
    chunks = chunk_rows(logits, path)
    for chunk in chunks:
        for whole, part in zip(stats, function(logits[chunk], options, columns, relative_to_second)):
            whole[chunk] = part
    if relative_to_second:
        return stats
    for rows in vanishing_rows(stats.total, valid, logits.size(1), chunks):
        again = softmax_eager.row_stats(logits[rows], options, relative_to_second=True)
        for whole, part in zip(stats, again):
            whole[rows] = part
    return stats


def vanishing_rows(
    total: Tensor, valid: Tensor, classes: int, chunks: list[slice]
) -> Sequence[slice | Tensor]:
    """Chunks of the rows whose ``total`` beside the top class vanishes; all rows where no value is read."""
    small = (total < VANISHING) & valid
    any_small = any_true(small)
    if not any_small:
        return chunks if any_small is None else []
    return small.squeeze(1).nonzero().squeeze(1).split(max(CHUNK_ELEMENTS["chunks"] // classes, 1))


def vocab_independent(options: softmax.KernelOptions, path: str, like: Tensor) -> softmax.KernelOptions:
    """``options`` without the numbers for each of which code would be compiled.

    Those are q, which differs by vocabulary, and the weight of a scheduled bonus.
    """
    options = options._replace(on_target=0.0, elsewhere=1.0 if options.elsewhere else 0.0)
    return options._replace(bonus=with_dynamic_weight(options.bonus, path, like))


def write_gradient(
    path: str,
    output: Tensor,
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    options: softmax.KernelOptions,
    state: softmax.RowState,
    grad_output: Tensor,
) -> None:
    """Write the gradient of rows times ``grad_output``, (n, 1), into ``output``, (n, V), maybe ``logits``."""
    grad_output = grad_output.masked_fill(~valid, 0)
    gradient_of_others(path, output, logits, valid, options, state, grad_output)
    output.scatter_(1, state.top_class, (state.grad_top * grad_output).to(output.dtype))
    output.scatter_(1, target, (state.grad_target * grad_output).to(output.dtype))


def gradient_of_others(
    path: str,
    output: Tensor,
    logits: Tensor,
    valid: Tensor,
    options: softmax.KernelOptions,
    state: softmax.RowState,
    grad_output: Tensor,
) -> None:
    """:func:`write_gradient` of all classes but the rows' top classes and targets."""
    function = softmax_eager.gradient_of_others
    function = compiled(function) if path == "compiled" else function
    smoothing_grad = options.elsewhere * grad_output
    options = vocab_independent(options, path, like=logits)
    # 0 * NaN is NaN: zero ignored rows explicitly where they hold NaN or infinity.
    nonfinite = ~valid & ~state.reference.isfinite()
    any_nonfinite = any_true(nonfinite)
    for c in chunk_rows(logits, path):
        part = output[c]
        z = part if output is logits else logits[c]
        part_state = softmax.RowState(*(value[c] for value in state))
        zero_rows = nonfinite[c] if any_nonfinite is None else None
        function(part, z, options, part_state, grad_output[c], smoothing_grad[c], zero_rows)
    if any_nonfinite:
        output.index_fill_(0, nonfinite.squeeze(1).nonzero().squeeze(1), 0)
