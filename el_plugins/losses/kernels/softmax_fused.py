"""Losses and gradient of rows by compiled code, which reads a chunk of rows once from memory."""

from __future__ import annotations

import torch
from torch import Tensor

from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.chunks import CHUNK_ELEMENTS, chunk_rows
from el_plugins.losses.kernels.compile_cache import compiled, with_dynamic_weight
from el_plugins.losses.kernels.softmax_chunked import VANISHING, compute_losses, write_gradient
from el_plugins.losses.kernels.softmax_eager import exponentials, gradient_of, stats_of
from el_plugins.losses.kernels.softmax_rows import divided
from el_plugins.losses.numerics import single_precision
from el_plugins.losses.validation import indices_and_mask


def losses_and_gradient(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    options: softmax.KernelOptions,
    parts: Tensor | None,
    upstream: Tensor | None,
    gradient: Tensor,
) -> tuple[Tensor, Tensor]:
    """:func:`softmax_rows.plain_losses_and_gradient` of logits in float32 or narrower, on a CPU."""
    z, output = logits.detach().flatten(0, 1), gradient.flatten(0, 1)
    indices, valid = (x.unsqueeze(1) for x in indices_and_mask(target, ignore_index))
    factor = divided(torch.ones(len(z), 1, dtype=torch.float32, device=z.device), parts)
    grad_output = factor if upstream is None else factor * upstream.reshape(-1, 1)
    columns = torch.arange(z.size(1), dtype=torch.float32, device=z.device)
    general = vocab_independent(options, z)
    losses, log_p = torch.empty_like(factor), torch.empty_like(factor)
    left = torch.empty_like(valid)
    for rows in chunk_rows(z, "compiled"):
        arguments = z[rows], indices[rows], valid[rows], grad_output[rows], general, columns
        losses[rows], log_p[rows], left[rows], output[rows] = compiled(losses_and_gradient_of)(*arguments)
    if left.any():
        most = max(CHUNK_ELEMENTS["chunks"] // z.size(1), 1)
        for rows in left.squeeze(1).nonzero().squeeze(1).split(most):
            some, its = z[rows], (indices[rows], valid[rows], options)
            losses[rows], log_p[rows], state = compute_losses("chunks", some, *its)
            write_gradient("chunks", some, some, *its, state, grad_output[rows])
            output[rows] = some
    if output.data_ptr() != gradient.data_ptr():
        gradient.copy_(output.view(gradient.shape))
    return (losses * factor).squeeze(1), log_p.squeeze(1)


def vocab_independent(options: softmax.KernelOptions, like: Tensor) -> softmax.KernelOptions:
    """``options`` without the numbers for each of which code would be compiled."""
    if options.is_smoothed:
        shares = [options.on_target, options.elsewhere]
        on_target, elsewhere = torch.tensor(shares, dtype=torch.float32, device=like.device)
        options = options._replace(on_target=on_target, elsewhere=elsewhere)
    return options._replace(bonus=with_dynamic_weight(options.bonus, "compiled", like))


def losses_and_gradient_of(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    grad_output: Tensor,
    options: softmax.KernelOptions,
    columns: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of some rows; nothing is written to, for compiled code confuses views of one storage (torch 2.14).

    Returns:
        (n, 1) losses, log p of the targets, and which rows are left: where the exponentials beside the top
        class vanish; the gradient, (n, V). Of rows left that is the logits, and the losses mean nothing.
    """
    z = single_precision(logits)
    parts = exponentials(z, columns)
    e = torch.where(parts.distance == 0, 1.0, parts.e)
    stats = stats_of(parts, options)
    z_target = z.gather(1, target)
    losses, log_p, state = softmax.losses(stats, z_target, target, valid, options)
    left = valid & (stats.total < VANISHING)
    state = state._replace(scale=stored(state.scale), grad_per_e=stored(state.grad_per_e))
    gradient = gradient_of(e, options, state, grad_output, stored(options.elsewhere * grad_output))
    # 0 * NaN is NaN: an ignored row may hold it.
    gradient = torch.where(left, z, torch.where(valid, gradient, 0))
    of_top = stats.top_class, stats.top, state.grad_top
    of_target = target, z_target, state.grad_target
    for index, logit, its_gradient in (of_top, of_target):
        its_gradient = torch.where(left, logit, its_gradient * grad_output)
        is_it = columns == stored(index.to(columns.dtype))
        gradient = torch.where(is_it, stored(its_gradient), gradient)
    return losses, log_p, left, gradient


def stored(x: Tensor) -> Tensor:
    """``x``, (n, 1), which compiled code then computes once a row, and not again for each class."""
    return x.as_strided(x.shape, x.stride())
