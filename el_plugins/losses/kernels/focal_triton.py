"""Halted focal loss in Triton: one pass for losses, gradient or both, every logit read once.

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
from el_plugins.losses.kernels.launch_triton import Launch

BLOCK = 1024
GROUP = 16  # elements of a row that share the reading of a label and the division by K, if 16 divides K


@triton.jit
def _element(x, positive, on_target, elsewhere, gamma, boundary, shift, shift_elsewhere,
             HALT: tl.constexpr, POWER: tl.constexpr):  # fmt: skip
    """Loss of each element, and its derivative by the logit ``x``; the weights are the labels' alpha."""
    small = tl.exp(-tl.abs(x))
    inverse = 1 / ((1 + small) * (2 + small))
    # log(1 + small) = 2 artanh(w): w is at most 1/3, and what follows the last term below 2e-8 of the sum.
    w = small * inverse * (1 + small)
    square = w * w
    series = 1 / 13
    for k in tl.static_range(5, -1, -1):
        series = series * square + 1 / (2 * k + 1)
    signed = tl.where(positive, x, -x)  # logit of p_t
    log_p = tl.minimum(signed, 0.0) - 2 * w * series
    large = inverse * (2 + small)
    p = tl.where(signed >= 0, large, small * large)
    one_minus_p = tl.where(signed >= 0, small * large, large)
    if POWER == 0:
        focus = tl.full(x.shape, 1.0, tl.float32)
    elif POWER == 1:
        focus = one_minus_p
    elif POWER == 2:
        focus = one_minus_p * one_minus_p
    else:
        focus = tl.exp(gamma * (log_p - signed))  # log(1-p) is log(p) less the logit
    if HALT == "both":
        halted = signed > boundary
    elif HALT == "authors":
        halted = x > boundary
        shift = tl.where(positive, shift, shift_elsewhere)
    else:
        halted = (x > boundary) & positive
    weight = tl.where(positive, on_target, -elsewhere) + (x - x)  # NaN for a logit that is not finite
    loss = tl.where(halted, log_p + shift, focus * log_p) * -tl.abs(weight)
    slope = tl.where(halted, -one_minus_p, focus * (gamma * p * log_p - one_minus_p)) * weight
    return loss, slope


@triton.jit
def _focal(
    x_ptr, target_ptr, scale_ptr, losses_ptr, gradient_ptr, count, on_target, elsewhere, gamma, boundary,
    shift, shift_elsewhere, TARGET: tl.constexpr, LOSSES: tl.constexpr, GRADIENT: tl.constexpr,
    SCALE: tl.constexpr, HALT: tl.constexpr, POWER: tl.constexpr, CLASSES: tl.constexpr,
    GROUP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * BLOCK
    groups = tl.arange(0, BLOCK // GROUP)[:, None] * GROUP  # their first elements
    inside = groups < count - start
    here = start + groups + tl.arange(0, GROUP)[None, :]
    x = tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32)
    scale = tl.where(inside, 1.0, 0.0)
    if SCALE == "divisor":
        scale /= tl.load(scale_ptr).to(tl.float32)
    elif SCALE == "factor":
        scale *= tl.load(scale_ptr).to(tl.float32)
    elif SCALE == "factors":
        scale = tl.load(scale_ptr + here, mask=inside, other=0.0).to(tl.float32)
    if TARGET == "classes":
        # Relative to the row in which the block starts: dividing every element's index in 64 bits is slow.
        column = (start % CLASSES).to(tl.int32) + groups
        label = tl.load(target_ptr + start // CLASSES + column // CLASSES, mask=inside, other=0)
        valid = inside & (label >= 0)
        x = tl.where(valid, x, 0.0)
        scale = tl.where(label > CLASSES, float("nan"), tl.where(valid, scale, 0.0))
        positive = (label - column % CLASSES).to(tl.int32) == tl.arange(0, GROUP)[None, :]
    else:
        t = tl.load(target_ptr + here, mask=inside, other=0)
        if TARGET == "labels":
            positive = t == 1
            scale = tl.where((t == 0) | positive, scale, float("nan"))
        else:
            positive = tl.full(x.shape, 1, tl.int1)
            scale = tl.where((t >= 0) & (t <= 1), scale, float("nan"))
    loss, slope = _element(
        x, positive, on_target, elsewhere, gamma, boundary, shift, shift_elsewhere, HALT, POWER
    )
    if TARGET == "soft":
        other_loss, other_slope = _element(
            x, ~positive, on_target, elsewhere, gamma, boundary, shift, shift_elsewhere, HALT, POWER
        )
        t = t.to(tl.float32)
        loss, slope = t * loss + (1 - t) * other_loss, t * slope + (1 - t) * other_slope
    if GRADIENT:
        tl.store(gradient_ptr + here, slope * scale, mask=inside)
    if LOSSES == "each":
        tl.store(losses_ptr + here, loss * scale, mask=inside)
    elif LOSSES == "sum":
        tl.store(losses_ptr + tl.program_id(0), tl.sum(tl.sum(loss * scale, 1), 0))


def traffic(x: Tensor, target: Tensor, losses: str = "", gradient: bool = False, scales: bool = False) -> int:
    """Bytes that a launch must read and write: every logit and target once, and what it is asked for."""
    written = 4 * (x.numel() if losses == "each" else triton.cdiv(x.numel(), BLOCK) if losses else 0)
    written += x.nbytes if gradient else 0
    return x.nbytes + target.nbytes + written + (4 * x.numel() if scales else 0)


@on_its_device
def losses(x: Tensor, target: Tensor, settings: FocalSettings, summed: bool) -> Tensor:
    """:func:`focal_function.compute_losses` of logits in float32 or narrower."""
    output = x.new_empty(triton.cdiv(x.numel(), BLOCK) if summed else x.shape, dtype=torch.float32)
    launch_of(x, target, settings, losses=output).run()
    return output.sum() if summed else output


@on_its_device
def gradient(x: Tensor, grad_output: Tensor, target: Tensor, settings: FocalSettings) -> Tensor:
    """:func:`focal_function.compute_gradient` of logits in float32 or narrower."""
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    is_scalar = not any(grad_output.stride())  # also after expand
    kind = "factor" if is_scalar else "factors"
    scales = grad_output if is_scalar else grad_output.contiguous()
    launch_of(x, target, settings, kind, scales, gradient=output).run()
    return output


@on_its_device
def loss_and_gradient(
    x: Tensor, target: Tensor, settings: FocalSettings, divisor: Tensor | float
) -> tuple[Tensor, Tensor]:
    """:func:`focal_sum.loss_and_gradient` of logits in float32 or narrower, in one pass."""
    sums = x.new_empty(triton.cdiv(x.numel(), BLOCK), dtype=torch.float32)
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    if isinstance(divisor, Tensor):
        launch_of(x, target, settings, "divisor", divisor, losses=sums, gradient=output).run()
    else:
        launch_of(x, target, settings, losses=sums, gradient=output, weight=1 / divisor).run()
    return sums.sum(), output


def launch_of(
    x: Tensor,
    target: Tensor,
    settings: FocalSettings,
    scale: str = "",
    scales: Tensor | None = None,
    *,
    losses: Tensor | None = None,
    gradient: Tensor | None = None,
    weight: float = 1.0,
) -> Launch:
    """The launch over all elements, for what is to be written: the losses, or a sum of each block."""
    alpha, gamma, halt, phi = settings
    factors = (1.0, 1.0) if alpha < 0 else (float(alpha), float(1 - alpha))
    boundary, shift, shift_elsewhere = math.inf, 0.0, 0.0  # nothing is halted
    if phi < 1:
        boundary = boundary_logit(phi)
        shift = halting_shift(phi, gamma)
        shift_elsewhere = halting_shift(1 - phi, gamma) if halt == "authors" else shift
    if target.dim() == 1:
        kind = "classes"
    else:
        kind = "soft" if target.is_floating_point() else "labels"
        target = target.view(torch.uint8) if target.dtype == torch.bool else target
    classes = x.size(1)
    arguments = (
        x.contiguous(), target.contiguous(), scales, losses, gradient, x.numel(),
        *(weight * factor for factor in factors), float(gamma), boundary, shift, shift_elsewhere,
    )  # fmt: skip
    constants = {
        "TARGET": kind,
        "LOSSES": "" if losses is None else "each" if losses.shape == x.shape else "sum",
        "GRADIENT": gradient is not None,
        "SCALE": scale,
        "HALT": halt,
        "POWER": int(gamma) if gamma in (0, 1, 2) else -1,
        "CLASSES": classes,
        "GROUP": math.gcd(classes, GROUP),
        "BLOCK": BLOCK,
        "num_warps": 4,  # Triton's default
    }
    return Launch(_focal, triton.cdiv(x.numel(), BLOCK), arguments, constants)
