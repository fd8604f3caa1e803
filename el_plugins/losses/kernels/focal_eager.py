"""Halted focal loss of each element and its closed-form derivative, by plain operations.

Loss and derivative are made apart, each from the logits: forward then keeps nothing of their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from el_plugins.losses.validation import in_unit_interval, single_precision


class Focal(NamedTuple):
    """The settings of :func:`el_plugins.losses.sigmoid_halted_focal_loss`."""

    alpha: float
    gamma: float
    halt: str
    halt_threshold: float


def class_losses(x: Tensor, label: Tensor, settings: Focal, summed: bool) -> Tensor:
    """Losses (n, K), or their sum, of logits ``x`` (n, K) against class indices ``label`` (n).

    K is background; a row with a negative label is exactly 0, one with a label above K is NaN.
    """
    losses = of_classes(element_losses, x, label, settings)
    return losses.sum() if summed else losses


def class_gradient(output: Tensor, x: Tensor, grad_output: Tensor, label: Tensor, settings: Focal) -> None:
    """Write the gradient of :func:`class_losses` times ``grad_output`` (n, K) into ``output`` (n, K).

    Rounded once, after the product: before it, fp16 would lose what loss scaling is there to keep.
    """
    output.copy_(of_classes(element_slopes, x, label, settings, grad_output))


def dense_losses(x: Tensor, target: Tensor, settings: Focal, summed: bool) -> Tensor:
    """:func:`class_losses` against ``target`` (n, K): bool, integers 0 and 1, or floating in [0, 1]."""
    losses = of_dense(element_losses, x, target, settings)
    return losses.sum() if summed else losses


def dense_gradient(output: Tensor, x: Tensor, grad_output: Tensor, target: Tensor, settings: Focal) -> None:
    """:func:`class_gradient` of :func:`dense_losses`."""
    output.copy_(of_dense(element_slopes, x, target, settings) * grad_output)


def of_classes(
    elements: Callable[..., Tensor], x: Tensor, label: Tensor, settings: Focal, factor: Tensor | None = None
) -> Tensor:
    """``elements`` (losses or slopes) times ``factor``: 0 for a negative label, NaN for one above K."""
    label, x = label.unsqueeze(1), single_precision(x)
    positive = label == torch.arange(x.size(1), device=x.device)
    values = elements(x, positive, settings) + choose(label <= x.size(1), 0.0, math.nan, x.dtype)
    values = values if factor is None else values * factor
    return values.masked_fill(label < 0, 0)


def of_dense(elements: Callable[..., Tensor], x: Tensor, target: Tensor, settings: Focal) -> Tensor:
    """``elements`` against dense targets, of soft ones the mixture; NaN for a target outside [0, 1]."""
    x = single_precision(x)
    if target.dtype == torch.bool:
        return elements(x, target, settings)
    if target.is_floating_point():
        t = target.to(x.dtype)
        values = t * elements(x, True, settings) + (1 - t) * elements(x, False, settings)
    else:
        values = elements(x, target == 1, settings)
    return values + choose(in_unit_interval(target), 0.0, math.nan, x.dtype)


class Parts(NamedTuple):
    """What loss and slope are made of: each (n, K) and float32 or float64, but for ``halted``, bool."""

    log_p: Tensor  # of p_t
    p: Tensor
    rest: Tensor  # 1 - p_t
    focus: Tensor  # (1 - p_t)**gamma
    halted: Tensor
    sign: Tensor  # the slope's, times alpha_t; NaN for a logit that is not finite


def element_losses(x: Tensor, positive: Tensor | bool, settings: Focal) -> Tensor:
    """Loss of each element whose label is ``positive``, NaN where the logit is not finite."""
    parts, phi = parts_of(x, positive, settings), settings.halt_threshold
    loss = -parts.focus * parts.log_p
    if phi < 1:
        shift: Tensor | float = halting_shift(phi, settings.gamma)
        if settings.halt == "authors":
            shift = choose(positive, shift, halting_shift(1 - phi, settings.gamma), x.dtype)
        loss = torch.where(parts.halted, -(parts.log_p + shift), loss)
    return loss * parts.sign.abs()


def element_slopes(x: Tensor, positive: Tensor | bool, settings: Focal) -> Tensor:
    """Derivative of :func:`element_losses` by the logit."""
    parts = parts_of(x, positive, settings)
    slope = parts.focus * (settings.gamma * parts.p * parts.log_p - parts.rest)
    if settings.halt_threshold < 1:
        slope = torch.where(parts.halted, -parts.rest, slope)
    return slope * parts.sign


def parts_of(x: Tensor, positive: Tensor | bool, settings: Focal) -> Parts:
    """The parts of elements with logits ``x``."""
    alpha, gamma, halt, phi = settings
    signed = choose(positive, x, -x, x.dtype)  # logit of p_t
    small = (-signed.abs()).exp()
    log_p = signed.clamp(max=0) - log1p(small)
    large = 1 / (1 + small)
    small = small * large
    right = signed >= 0
    p, rest = torch.where(right, large, small), torch.where(right, small, large)
    # Through the logarithm where gamma is broken: a pow has an infinite slope at 0 for gamma < 1.
    focus = rest**gamma if gamma in (0, 1, 2) else (gamma * (log_p - signed)).exp()
    halted = right  # of no account for phi = 1
    if phi < 1:
        halted = (signed if halt == "both" else x) > math.log(phi) - math.log1p(-phi)
        if halt == "foreground":
            halted = halted & positive
    on_target, elsewhere = (1.0, -1.0) if alpha < 0 else (alpha, alpha - 1)
    sign = choose(positive, on_target, elsewhere, x.dtype) + (x - x)
    return Parts(log_p, p, rest, focus, halted, sign)


def log1p(small: Tensor) -> Tensor:
    """``log(1 + small)`` of numbers in [0, 1]: the logarithm of the rounded sum, mended by what that took.

    As exact as ``torch.log1p``, which takes several times as long on CPUs.
    """
    total = 1 + small
    return torch.where(total == 1, small, total.log() * (small / (total - 1)))


def halting_shift(p_t: float, gamma: float) -> float:
    """Cross-entropy minus focal loss at ``p_t`` in (0, 1): the constant b of Eq. 11 at phi = p_t."""
    return ((1 - p_t) ** gamma - 1) * math.log(p_t)


def choose(condition: Tensor | bool, yes: Tensor | float, no: Tensor | float, dtype: torch.dtype) -> Tensor:
    """``yes`` or ``no`` by ``condition``, numbers in ``dtype`` without a detour through another."""
    if isinstance(condition, bool):
        return yes if condition else no  # type: ignore[return-value]
    if not isinstance(yes, Tensor):
        yes = torch.tensor(yes, dtype=dtype, device=condition.device)
    return torch.where(condition, yes, no)
