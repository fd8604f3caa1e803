"""Halted focal loss of each element and its closed-form derivative, by plain operations.

Loss and derivative are computed separately, each from the logits, so that forward saves nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from el_plugins.losses.kernels.focal import FocalSettings, boundary_logit, halting_shift
from el_plugins.losses.numerics import single_precision
from el_plugins.losses.validation import in_unit_interval


def class_losses(x: Tensor, label: Tensor, settings: FocalSettings, summed: bool) -> Tensor:
    """Losses (n, K), or their sum, of logits ``x`` (n, K) against class indices ``label`` (n).

    K is background; a row with a negative label is exactly 0, one with a label above K is NaN.
    """
    losses = by_class_index(element_losses, x, label, settings)
    return losses.sum() if summed else losses


def class_gradient(
    output: Tensor, x: Tensor, grad_output: Tensor, label: Tensor, settings: FocalSettings
) -> None:
    """Write the gradient of :func:`class_losses` times ``grad_output`` (n, K) into ``output`` (n, K).

    Rounded once, after the product: before it, fp16 would underflow where loss scaling prevents that.
    """
    output.copy_(by_class_index(element_slopes, x, label, settings, grad_output))


def dense_losses(x: Tensor, target: Tensor, settings: FocalSettings, summed: bool) -> Tensor:
    """:func:`class_losses` against ``target`` (n, K): bool, integers 0 and 1, or floating in [0, 1]."""
    losses = by_dense_target(element_losses, x, target, settings)
    return losses.sum() if summed else losses


def dense_gradient(
    output: Tensor, x: Tensor, grad_output: Tensor, target: Tensor, settings: FocalSettings
) -> None:
    """:func:`class_gradient` of :func:`dense_losses`."""
    output.copy_(by_dense_target(element_slopes, x, target, settings) * grad_output)


def by_class_index(
    elements: Callable[..., Tensor],
    x: Tensor,
    label: Tensor,
    settings: FocalSettings,
    factor: Tensor | None = None,
) -> Tensor:
    """``elements`` (losses or slopes) times ``factor``: 0 for a negative label, NaN for one above K."""
    label, x = label.unsqueeze(1), single_precision(x)
    positive = label == torch.arange(x.size(1), device=x.device)
    result = elements(x, positive, settings) + choose(label <= x.size(1), 0.0, math.nan, x.dtype)
    result = result if factor is None else result * factor
    return result.masked_fill(label < 0, 0)


def by_dense_target(
    elements: Callable[..., Tensor], x: Tensor, target: Tensor, settings: FocalSettings
) -> Tensor:
    """``elements`` of dense targets, the mixture of both labels for soft ones; NaN outside [0, 1]."""
    x = single_precision(x)
    if target.dtype == torch.bool:
        return elements(x, target, settings)
    if target.is_floating_point():
        t = target.to(x.dtype)
        result = t * elements(x, True, settings) + (1 - t) * elements(x, False, settings)
    else:
        result = elements(x, target == 1, settings)
    return result + choose(in_unit_interval(target), 0.0, math.nan, x.dtype)


class Parts(NamedTuple):
    """What loss and slope are computed from, (n, K) each: float32 or float64, except for ``halted``, bool."""

    log_p: Tensor  # of p_t
    p: Tensor  # p_t
    one_minus_p: Tensor
    focus: Tensor  # (1 - p_t)**gamma
    halted: Tensor
    sign: Tensor  # the slope's, times alpha_t; NaN for a logit that is not finite


def element_losses(x: Tensor, positive: Tensor | bool, settings: FocalSettings) -> Tensor:
    """Loss of each element whose label is ``positive``, NaN where the logit is not finite."""
    parts, phi = parts_of(x, positive, settings), settings.halt_threshold
    loss = -parts.focus * parts.log_p
    if phi < 1:
        shift: Tensor | float = halting_shift(phi, settings.gamma)
        if settings.halt == "authors":
            shift = choose(positive, shift, halting_shift(1 - phi, settings.gamma), x.dtype)
        loss = torch.where(parts.halted, -(parts.log_p + shift), loss)
    return loss * parts.sign.abs()


def element_slopes(x: Tensor, positive: Tensor | bool, settings: FocalSettings) -> Tensor:
    """Derivative of :func:`element_losses` by the logit."""
    parts = parts_of(x, positive, settings)
    slope = parts.focus * (settings.gamma * parts.p * parts.log_p - parts.one_minus_p)
    if settings.halt_threshold < 1:
        slope = torch.where(parts.halted, -parts.one_minus_p, slope)
    return slope * parts.sign


def parts_of(x: Tensor, positive: Tensor | bool, settings: FocalSettings) -> Parts:
    """The parts of elements with logits ``x``."""
    alpha, gamma, halt, phi = settings
    signed = choose(positive, x, -x, x.dtype)  # logit of p_t
    small = (-signed.abs()).exp()
    log_p = signed.clamp(max=0) - log1p(small)
    large = 1 / (1 + small)
    small = small * large
    right = signed >= 0
    p, one_minus_p = torch.where(right, large, small), torch.where(right, small, large)
    # Through the logarithm for a fractional gamma: a pow has an infinite slope at 0 for gamma < 1.
    focus = one_minus_p**gamma if gamma in (0, 1, 2) else (gamma * (log_p - signed)).exp()
    halted = right  # not used for phi = 1
    if phi < 1:
        halted = (signed if halt == "both" else x) > boundary_logit(phi)
        if halt == "foreground":
            halted = halted & positive
    on_target, elsewhere = (1.0, -1.0) if alpha < 0 else (alpha, alpha - 1)
    sign = choose(positive, on_target, elsewhere, x.dtype) + (x - x)
    return Parts(log_p, p, one_minus_p, focus, halted, sign)


def log1p(small: Tensor) -> Tensor:
    """``log(1 + small)`` of numbers in [0, 1]: the log of the rounded sum, corrected for the rounding.

    As exact as ``torch.log1p``, which takes several times as long on CPUs.
    """
    total = 1 + small
    return torch.where(total == 1, small, total.log() * (small / (total - 1)))


def choose(condition: Tensor | bool, yes: Tensor | float, no: Tensor | float, dtype: torch.dtype) -> Tensor:
    """``torch.where`` for numbers in ``dtype``, which are not rounded to another first."""
    if isinstance(condition, bool):
        return yes if condition else no  # type: ignore[return-value]
    if not isinstance(yes, Tensor):
        yes = torch.tensor(yes, dtype=dtype, device=condition.device)
    return torch.where(condition, yes, no)
