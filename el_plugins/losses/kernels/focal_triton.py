"""Halted focal loss of class indices in Triton: one pass for the losses, one for the gradient.

One program per block of the flattened elements. Computes in float32, whatever it reads and writes.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from el_plugins.losses.kernels.device import on_its_device
from el_plugins.losses.kernels.focal import FocalSettings, boundary_logit, halting_shift

BLOCK = 1024


@triton.jit
def _focal(
    x_ptr, label_ptr, grad_output_ptr, output_ptr, count, classes, on_target, elsewhere, gamma, boundary,
    shift, shift_elsewhere, HALT: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * BLOCK
    here = start + tl.arange(0, BLOCK)
    inside = here < count
    # Relative to the row in which the block starts: dividing every element's index in 64 bits is slow.
    column = (start % classes).to(tl.int32) + tl.arange(0, BLOCK)
    label = tl.load(label_ptr + start // classes + column // classes, mask=inside, other=0)
    valid = inside & (label >= 0)
    x = tl.where(valid, tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32), 0.0)
    positive = label == column % classes
    signed = tl.where(positive, x, -x)  # logit of p_t
    small = tl.exp(-tl.abs(x))
    # Triton has no log1p: the logarithm of the rounded sum, corrected for the rounding.
    rounded = 1 + small
    log1p = tl.where(rounded == 1, small, tl.log(rounded) * (small / tl.where(rounded == 1, 1, rounded - 1)))
    log_p = tl.minimum(signed, 0.0) - log1p
    log_1mp = tl.minimum(-signed, 0.0) - log1p
    focus = tl.exp(gamma * log_1mp)
    if HALT == "both":
        halted = signed > boundary
    elif HALT == "authors":
        halted = x > boundary
    else:
        halted = (x > boundary) & positive
    factor = tl.where(positive, on_target, elsewhere) + (x - x)  # NaN for a logit that is not finite
    factor = tl.where(label > classes, float("nan"), factor)
    if KIND == "gradient" or KIND == "gradient of the sum":
        p = tl.where(signed >= 0, 1.0, small) / rounded
        one_minus_p = tl.where(signed >= 0, small, 1.0) / rounded
        slope = tl.where(halted, -one_minus_p, focus * (gamma * p * log_p - one_minus_p))
        if KIND == "gradient":
            factor *= tl.load(grad_output_ptr + here, mask=inside, other=0.0)
        else:
            factor *= tl.load(grad_output_ptr)
        value = tl.where(valid, tl.where(positive, slope, -slope) * factor, 0.0)
        tl.store(output_ptr + here, value, mask=inside)
    else:
        loss = tl.where(halted, -log_p - tl.where(positive, shift, shift_elsewhere), -focus * log_p)
        loss = tl.where(valid, loss * factor, 0.0)
        if KIND == "sum":
            tl.store(output_ptr + tl.program_id(0), tl.sum(loss, 0))
        else:
            tl.store(output_ptr + here, loss, mask=inside)


@on_its_device
def losses(x: Tensor, label: Tensor, settings: FocalSettings, summed: bool) -> Tensor:
    """:func:`focal_function.compute_losses` of class indices and logits in float32 or narrower."""
    programs = triton.cdiv(x.numel(), BLOCK)
    output = x.new_empty(programs if summed else x.shape, dtype=torch.float32)
    launch(x, label, x, output, settings, "sum" if summed else "losses")
    return output.sum() if summed else output


@on_its_device
def gradient(x: Tensor, grad_output: Tensor, label: Tensor, settings: FocalSettings) -> Tensor:
    """:func:`focal_function.compute_gradient` of class indices and logits in float32 or narrower."""
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    is_scalar = not any(grad_output.stride())  # also after expand
    kind = "gradient of the sum" if is_scalar else "gradient"
    launch(x, label, grad_output if is_scalar else grad_output.contiguous(), output, settings, kind)
    return output


def launch(
    x: Tensor, label: Tensor, grad_output: Tensor, output: Tensor, settings: FocalSettings, kind: str
) -> None:
    """Run the kernel over all elements."""
    alpha, gamma, halt, phi = settings
    factors = (1.0, 1.0) if alpha < 0 else (float(alpha), float(1 - alpha))
    boundary, shift, shift_elsewhere = math.inf, 0.0, 0.0  # nothing is halted
    if phi < 1:
        boundary = boundary_logit(phi)
        shift = halting_shift(phi, gamma)
        shift_elsewhere = halting_shift(1 - phi, gamma) if halt == "authors" else shift
    programs = triton.cdiv(x.numel(), BLOCK)
    if programs:
        _focal[(programs,)](
            x.contiguous(), label.contiguous(), grad_output, output, x.numel(), x.size(1), *factors,
            float(gamma), boundary, shift, shift_elsewhere, HALT=halt, KIND=kind, BLOCK=BLOCK,
        )  # fmt: skip
