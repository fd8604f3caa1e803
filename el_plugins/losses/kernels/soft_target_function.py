"""Encouraging loss against class probabilities as one autograd node, a chunk of rows at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.kernels import softmax
from el_plugins.losses.kernels.backends import by_triton
from el_plugins.losses.kernels.chunks import chunk_rows
from el_plugins.losses.kernels.compile_cache import compiled, with_dynamic_weight
from el_plugins.losses.kernels.fallback import with_fallback
from el_plugins.losses.kernels.transforms import Gradient, Kernel, refuse_batched
from el_plugins.losses.numerics import single_precision


class SoftOptions(NamedTuple):
    """What is the same for every row: q is ``weight * (target_share * target + uniform)``."""

    target_share: Tensor | float  # 1 - label_smoothing
    uniform: Tensor | float  # label_smoothing / V
    weight: Tensor | None  # (V)
    bonus: Bonus


class SoftRows(NamedTuple):
    """What loss and gradients of some rows are computed from, (n, V), and (n, 1) for their top class."""

    is_top: Tensor
    e: Tensor  # exp(z - reference), 0 at the top class
    q: Tensor
    class_losses: Tensor  # -log p + w b(p); 0 where an excluded class has no mass
    neg_slopes: Tensor  # 1 - w p b'(p) of the other classes
    total: Tensor  # sum of e
    top: softmax.TopClass
    finite: Tensor  # 1, or NaN where the largest logit is not finite


def soft_rows(z: Tensor, target: Tensor, options: SoftOptions) -> SoftRows:
    """:class:`SoftRows` of logits (n, V) and probabilities (n, V)."""
    z = single_precision(z)
    highest, top_class = z.max(dim=1, keepdim=True)
    is_top = torch.arange(z.size(1), device=z.device) == top_class
    second = z.masked_fill(is_top, -torch.inf).amax(dim=1, keepdim=True)
    reference = torch.where(second == -torch.inf, highest, second)
    distance = (z - reference).masked_fill(is_top, 0)
    e = distance.exp().masked_fill(is_top, 0)
    total = e.sum(dim=1, keepdim=True)
    top = softmax.top_class_of(highest, reference, total, options.bonus)

    log_p = distance + top.log_scale
    p = e * top.scale
    q = options.target_share * target.to(z.dtype) + options.uniform
    q = q if options.weight is None else q * options.weight
    class_losses = torch.where(is_top, top.loss, options.bonus(log_p, (-p).log1p()) - log_p)
    # 0 * inf is NaN: zero the infinite loss of an excluded class explicitly. Elsewhere q = 0 has a gradient.
    class_losses = class_losses.masked_fill((q == 0) & (log_p == -torch.inf), 0)
    finite = torch.where(highest.isfinite(), 1.0, torch.nan).to(z.dtype)
    neg_slopes = 1 + options.bonus.bonus_grad(p, 1 - p)
    return SoftRows(is_top, e, q, class_losses, neg_slopes, total, top, finite)


def losses(z: Tensor, target: Tensor, options: SoftOptions) -> Tensor:
    """Loss of each row, (n)."""
    row = soft_rows(z, target, options)
    return ((row.q * row.class_losses).sum(dim=1, keepdim=True) * row.finite).squeeze(1)


def write_gradients(
    d_logits: Tensor | None,
    d_target: Tensor | None,
    z: Tensor,
    target: Tensor,
    options: SoftOptions,
    grad_output: Tensor,
) -> None:
    """Write the gradients of the rows times ``grad_output`` (n, 1) into those (n, V) that are not None.

    With the negative slopes g of the classes it is ``p_j sum_i(q_i g_i) - q_j g_j`` by the logits, and the
    class losses by q.
    """
    row = soft_rows(z, target, options)
    factor = grad_output * row.finite
    if d_logits is not None:
        top = row.top
        others = (row.q * row.neg_slopes).masked_fill(row.is_top, 0)
        q_top = row.q.masked_fill(~row.is_top, 0).sum(dim=1, keepdim=True)
        other_slopes = others.sum(dim=1, keepdim=True)
        grad_top = top.p * other_slopes - q_top * row.total * top.scaled_neg_slope
        grad_per_e = top.scale * other_slopes + q_top * top.scaled_neg_slope
        d_logits.copy_(torch.where(row.is_top, grad_top, row.e * grad_per_e - others) * factor)
    if d_target is not None:
        by_q = row.class_losses if options.weight is None else row.class_losses * options.weight
        d_target.copy_(by_q * (factor * options.target_share))


class SoftLosses(Kernel):
    """Loss of each row of (N, V) logits against (N, V) probabilities; saves only these two."""

    @staticmethod
    def forward(logits: Tensor, target: Tensor, options: SoftOptions, path: str) -> Tensor:
        """Losses (N), float32 or float64, of logits and probabilities of any floating dtype."""
        return run(logits.detach(), target.detach(), options, path, None, (None, None))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save the inputs."""
        logits, target, options, path = inputs
        ctx.save_for_backward(logits, target, options.weight)
        ctx.options, ctx.path = options, path

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of logits and probabilities in their dtypes."""
        refuse_batched(grad_output)
        logits, target, _ = ctx.saved_tensors
        needs_grad = tuple(bool(needed) for needed in ctx.needs_input_grad[:2])
        gradients = SoftGradients.apply(grad_output, logits, target, ctx.options, ctx.path, needs_grad)
        return (*gradients, None, None)


class SoftGradients(Gradient):
    """The gradients of :class:`SoftLosses`."""

    @staticmethod
    def forward(
        grad_output: Tensor,
        logits: Tensor,
        target: Tensor,
        options: SoftOptions,
        path: str,
        needs_grad: tuple[bool, bool],
    ) -> tuple[Tensor | None, ...]:
        """Gradients of logits and target, (N, V), None where not needed, for ``grad_output`` (N)."""
        inputs = logits.detach(), target.detach()
        gradients = tuple(torch.empty_like(x) if needed else None for x, needed in zip(inputs, needs_grad))
        run(*inputs, options, path, grad_output, gradients)
        return gradients


def run(
    logits: Tensor,
    target: Tensor,
    options: SoftOptions,
    path: str,
    grad_output: Tensor | None,
    gradients: tuple[Tensor | None, ...],
) -> Tensor:
    """Losses (N) by ``path``, or given ``grad_output`` (N) the gradients, which are written."""
    if by_triton(path, logits, target):
        from el_plugins.losses.kernels import soft_target_triton  # Triton is optional

        arguments = logits, target, options, grad_output, gradients
        return with_fallback(soft_target_triton.losses_and_gradients, run_plain)(*arguments)
    return run_chunks(logits, target, options, path, grad_output, gradients)


def run_plain(
    logits: Tensor,
    target: Tensor,
    options: SoftOptions,
    grad_output: Tensor | None,
    gradients: tuple[Tensor | None, ...],
) -> Tensor:
    """:func:`run` by plain operations."""
    return run_chunks(logits, target, options, "chunks", grad_output, gradients)


def run_chunks(
    logits: Tensor,
    target: Tensor,
    options: SoftOptions,
    path: str,
    grad_output: Tensor | None,
    gradients: tuple[Tensor | None, ...],
) -> Tensor:
    """:func:`run` a chunk of rows at a time."""
    function, options = prepared(losses if grad_output is None else write_gradients, options, path, logits)
    all_losses = logits.new_empty(len(logits), dtype=torch.promote_types(logits.dtype, torch.float32))
    for chunk in chunk_rows(logits, path):
        if grad_output is None:
            all_losses[chunk] = function(logits[chunk], target[chunk], options)
        else:
            outputs = [None if x is None else x[chunk] for x in gradients]
            function(*outputs, logits[chunk], target[chunk], options, grad_output[chunk].unsqueeze(1))
    return all_losses


def prepared(function: Any, options: SoftOptions, path: str, like: Tensor) -> tuple[Any, SoftOptions]:
    """``function`` for ``path``, and ``options`` whose numbers are not constants of compiled code."""
    if path != "compiled":
        return function, options
    wide = torch.promote_types(like.dtype, torch.float32)
    share, uniform = (torch.as_tensor(x, dtype=wide, device=like.device) for x in options[:2])
    bonus = with_dynamic_weight(options.bonus, "compiled", like)
    return compiled(function), SoftOptions(share, uniform, options.weight, bonus)
