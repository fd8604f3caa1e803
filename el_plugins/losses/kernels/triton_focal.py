"""Halted focal loss of class indices in Triton: loss and gradient of each element in one pass.

Every program takes a run of the flattened elements. Computes and writes float32, whatever it reads.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels import focal_function
from el_plugins.losses.kernels.paths import on_its_device

BLOCK = 1024


@triton.jit
def _focal(
    x_ptr, label_ptr, loss_ptr, gradient_ptr, count, classes, on_target, elsewhere, gamma, boundary, shift,
    shift_elsewhere, HALT: tl.constexpr, SUMMED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * BLOCK
    here = start + tl.arange(0, BLOCK)
    inside = here < count
    # Counted from the row in which the run starts: an element's division is dear in 64 bits.
    column = (start % classes).to(tl.int32) + tl.arange(0, BLOCK)
    label = tl.load(label_ptr + start // classes + column // classes, mask=inside, other=-1)
    kept = label >= 0
    x = tl.where(kept, tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32), 0.0)
    positive = label == column % classes
    signed = tl.where(positive, x, -x)  # logit of p_t
    small = tl.exp(-tl.abs(x))
    # log1p, of which Triton has none: the logarithm of the rounded sum, mended by what the rounding took.
    rounded = 1 + small
    log1p = tl.where(rounded == 1, small, tl.log(rounded) * (small / tl.where(rounded == 1, 1, rounded - 1)))
    log_p = tl.minimum(signed, 0.0) - log1p
    log_rest = tl.minimum(-signed, 0.0) - log1p
    p = tl.where(signed >= 0, 1.0, small) / rounded
    rest = tl.where(signed >= 0, small, 1.0) / rounded
    focus = tl.exp(gamma * log_rest)
    loss = -focus * log_p
    slope = focus * (gamma * p * log_p - rest)
    if HALT == "both":
        halted = signed > boundary
    elif HALT == "authors":
        halted = x > boundary
    else:
        halted = (x > boundary) & positive
    loss = tl.where(halted, -log_p - tl.where(positive, shift, shift_elsewhere), loss)
    slope = tl.where(halted, -rest, slope)
    factor = tl.where(positive, on_target, elsewhere) + (x - x)  # NaN for a logit that is not finite
    loss = tl.where(kept, loss * factor, 0.0)
    gradient = tl.where(kept, tl.where(positive, slope, -slope) * factor, 0.0)
    tl.store(gradient_ptr + here, gradient, mask=inside)
    if SUMMED:
        tl.store(loss_ptr + tl.program_id(0), tl.sum(loss, 0))
    else:
        tl.store(loss_ptr + here, loss, mask=inside)


@on_its_device
def class_terms(
    x: Tensor, label: Tensor, settings: focal_function.Focal, summed: bool
) -> tuple[Tensor, Tensor]:
    """:func:`focal_function.find_terms` of class indices and logits in float32 or narrower."""
    alpha, gamma, halt, phi = settings
    factors = (1.0, 1.0) if alpha < 0 else (float(alpha), float(1 - alpha))
    boundary, shift, shift_elsewhere = math.inf, 0.0, 0.0  # nothing is halted
    if phi < 1:
        boundary = math.log(phi) - math.log1p(-phi)
        shift = focal_function.halting_shift(phi, gamma)
        shift_elsewhere = focal_function.halting_shift(1 - phi, gamma) if halt == "authors" else shift
    x, label = x.contiguous(), label.contiguous()
    gradient = torch.empty_like(x, dtype=torch.float32)
    programs = triton.cdiv(x.numel(), BLOCK)
    losses = x.new_empty(programs if summed else x.shape, dtype=torch.float32)
    if programs:
        _focal[(programs,)](
            x, label, losses, gradient, x.numel(), x.size(1), *factors, float(gamma), boundary, shift,
            shift_elsewhere, HALT=halt, SUMMED=summed, BLOCK=BLOCK,
        )  # fmt: skip
    return losses.sum() if summed else losses, gradient
