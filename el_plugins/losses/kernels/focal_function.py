"""Halted focal loss and its gradient in one pass, some elements at a time."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from el_plugins.losses.checks import single_precision
from el_plugins.losses.kernels.paths import chunk_rows, compiled, guarded, refuse_second_order


class Focal(NamedTuple):
    """The settings of :func:`el_plugins.losses.sigmoid_halted_focal_loss`."""

    alpha: float
    gamma: float
    halt: str
    halt_threshold: float


def class_terms(gradient: Tensor, x: Tensor, label: Tensor, settings: Focal, summed: bool) -> Tensor:
    """Losses, or their sum, of logits ``x`` (n, K) against class indices ``label`` (n, 1).

    K is background; a row with a negative label is exactly 0. Writes the gradients into ``gradient`` (n, K).
    """
    positive = label == torch.arange(x.size(1), device=x.device)
    kept = label >= 0
    losses, slopes = elements(single_precision(x).masked_fill(~kept, 0), positive, settings)
    gradient.copy_(slopes.masked_fill(~kept, 0))
    losses = losses.masked_fill(~kept, 0)
    return losses.sum() if summed else losses


def dense_terms(gradient: Tensor, x: Tensor, target: Tensor, settings: Focal, summed: bool) -> Tensor:
    """:func:`class_terms` against ``target`` of 0 and 1 in the shape of ``x``."""
    losses, slopes = elements(single_precision(x), target.bool(), settings)
    gradient.copy_(slopes)
    return losses.sum() if summed else losses


def elements(x: Tensor, positive: Tensor, settings: Focal) -> tuple[Tensor, Tensor]:
    """Loss of each element and its derivative by the logit, NaN where the logit is not finite."""
    alpha, gamma, halt, phi = settings
    signed = torch.where(positive, x, -x)  # logit of p_t
    small = (-signed.abs()).exp()
    log_p = signed.clamp(max=0) - small.log1p()
    large = 1 / (1 + small)
    small = small * large
    right = signed >= 0
    p, rest = torch.where(right, large, small), torch.where(right, small, large)
    # Through the logarithm where gamma is broken: a pow has an infinite slope at 0 for gamma < 1.
    focus = rest**gamma if gamma in (0, 1, 2) else (gamma * (log_p - signed)).exp()
    loss = -focus * log_p
    slope = focus * (gamma * p * log_p - rest)
    if phi < 1:
        boundary = math.log(phi) - math.log1p(-phi)
        halted = (signed if halt == "both" else x) > boundary
        if halt == "foreground":
            halted = halted & positive
        shift: Tensor | float = halting_shift(phi, gamma)
        if halt == "authors":
            shift = choose(positive, halting_shift(phi, gamma), halting_shift(1 - phi, gamma), x.dtype)
        loss = torch.where(halted, -(log_p + shift), loss)
        slope = torch.where(halted, -rest, slope)
    sign = choose(positive, 1.0, -1.0, x.dtype) if alpha < 0 else choose(positive, alpha, alpha - 1, x.dtype)
    sign = sign + (x - x)  # NaN for a logit that is not finite
    return loss * sign.abs(), slope * sign


def halting_shift(p_t: float, gamma: float) -> float:
    """Cross-entropy minus focal loss at ``p_t`` in (0, 1): the constant b of Eq. 11 at phi = p_t."""
    return ((1 - p_t) ** gamma - 1) * math.log(p_t)


def choose(condition: Tensor, yes: float, no: float, dtype: torch.dtype) -> Tensor:
    """``yes`` or ``no`` by ``condition``, in ``dtype`` without a detour through another."""
    return torch.where(condition, torch.tensor(yes, dtype=dtype, device=condition.device), no)


def find_terms(
    path: str, x: Tensor, target: Tensor, is_classes: bool, settings: Focal, summed: bool
) -> tuple[Tensor, Tensor]:
    """Losses, or their sum, and gradients of all rows by ``path``, both in float32 or float64."""
    if path == "triton" and is_classes and x.dtype != torch.float64:
        from el_plugins.losses.kernels import triton_focal  # not everyone has Triton

        return guarded(triton_focal.class_terms, plain_class_terms)(x, target, settings, summed)
    function = class_terms if is_classes else dense_terms
    if path in ("compiled", "triton"):
        function = compiled(function)
    gradient = torch.empty_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    chunks = chunk_rows(x, path)
    # What is kept has its place before the first chunk: kept between the chunks' own it would scatter them.
    losses = gradient.new_empty(len(chunks)) if summed else torch.empty_like(gradient)
    for number, part in enumerate(chunks):
        place = losses[number] if summed else losses[part]
        place.copy_(function(gradient[part], x[part], target[part], settings, summed))
    return losses.sum() if summed else losses, gradient


def plain_class_terms(x: Tensor, label: Tensor, settings: Focal, summed: bool) -> tuple[Tensor, Tensor]:
    """:func:`class_terms` of all rows by plain operations."""
    return find_terms("chunks", x, label, True, settings, summed)


class FocalLoss(torch.autograd.Function):
    """Sum, or each element, of halted focal loss; keeps one gradient and nothing else for backward.

    Backward scales that gradient where it stands and hands it out, rounded once: before it is scaled, fp16
    would lose what loss scaling is there to keep. A second one raises RuntimeError.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor, is_classes: bool, settings: Focal, path: str, summed: bool
    ) -> Tensor:
        """float32 or float64 scalar, or (n, K), of logits (n, K).

        ``target`` is (n, 1) class indices if ``is_classes``, else (n, K) of 0 and 1.
        """
        losses, ctx.gradient = find_terms(path, x.detach(), target, is_classes, settings, summed)
        ctx.dtype = x.dtype
        return losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        refuse_second_order()
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise RuntimeError(
                "halted focal loss has handed out its one gradient: a second backward through it needs "
                "el_plugins.losses.kernels.use('formula') around the loss"
            )
        return gradient.mul_(upstream).to(ctx.dtype), None, None, None, None, None
