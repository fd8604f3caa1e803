"""Losses and gradient of rows in one call: by the Triton kernels, or by plain operations where they fail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.backends import by_triton
from el_plugins.losses.kernels.fallback import with_fallback
from el_plugins.losses.kernels.softmax_chunked import compute_losses, write_gradient
from el_plugins.losses.numerics import weighted_count
from el_plugins.losses.validation import indices_and_mask


def losses_and_gradient(*arguments: Any) -> tuple[Tensor, Tensor]:
    """:func:`plain_losses_and_gradient`, by one launch of a kernel where that works."""
    from el_plugins.losses.kernels import softmax_launch_triton  # Triton is optional

    return with_fallback(softmax_launch_triton.losses_and_gradient, plain_losses_and_gradient)(*arguments)


def plain_losses_and_gradient(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    options: softmax.KernelOptions,
    parts: Tensor | None,
    upstream: Tensor | None,
    gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Losses and log p of the targets, (N); the gradient is written. Arguments as those of the kernel."""
    rows = logits.detach().reshape(-1, logits.size(2))
    indices, valid = (x.unsqueeze(1) for x in indices_and_mask(target, ignore_index))
    losses, log_p, state = compute_losses("chunks", rows, indices, valid, options)
    factor = divided(torch.ones_like(losses), parts)
    losses = losses * factor
    if gradient is not None:
        grad_output = factor if upstream is None else factor * upstream.reshape(-1, 1)
        output = rows if gradient is logits else torch.empty_like(rows)
        write_gradient("chunks", output, rows, indices, valid, options, state, grad_output)
        if output.data_ptr() != gradient.data_ptr():
            gradient.copy_(output.view(logits.shape))
    return losses.squeeze(1), log_p.squeeze(1)


def divided(x: Tensor, parts: Tensor | None) -> Tensor:
    """``x`` over the sum of ``parts``, unless that is 0 or there are none."""
    if parts is None:
        return x
    count = parts.sum()
    return x / count.masked_fill(count == 0, 1)


def overwrite_by_gradient(
    path: str,
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    options: softmax.KernelOptions,
    grad_output: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Losses and log p of the targets, (n, 1), of logits (n, V) by ``path``; their gradient replaces them.

    Args:
        path: ``chunks``, ``compiled`` or ``triton``.
        logits: (n, V), floating.
        target: (n, 1), int64 class indices within range.
        valid: (n, 1), bool: the other rows are 0, whatever their logits.
        options: see :class:`~el_plugins.losses.kernels.softmax.KernelOptions`.
        grad_output: (n, 1) in float32 or float64; None leaves ``logits`` unchanged.
    """
    if not by_triton(path, logits):
        losses, log_p, state = compute_losses(path, logits, target, valid, options)
        if grad_output is not None:
            write_gradient(path, logits, logits, target, valid, options, state, grad_output)
        return losses, log_p
    rows, marked = logits.detach().unsqueeze(0), target.masked_fill(~valid, -1).squeeze(1)
    upstream, output = (None, None) if grad_output is None else (grad_output.squeeze(1), rows)
    losses, log_p = losses_and_gradient(rows, marked, -1, options, None, upstream, output)
    return losses.unsqueeze(1), log_p.unsqueeze(1)


def count_valid(target: Tensor, ignore_index: int, weight: Tensor | None, classes: int) -> Tensor:
    """Numbers, (a few), whose sum is that of the valid targets, or of their class weights."""
    from el_plugins.losses.kernels import softmax_launch_triton

    arguments = target, ignore_index, weight, classes
    return with_fallback(softmax_launch_triton.count_valid, plain_count_valid)(*arguments)


def plain_count_valid(target: Tensor, ignore_index: int, weight: Tensor | None, classes: int) -> Tensor:
    """:func:`count_valid` by plain operations: one number, (1)."""
    return weighted_count(*indices_and_mask(target, ignore_index), weight, torch.float32).unsqueeze(0)
