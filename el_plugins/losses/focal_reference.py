"""Halted focal loss of each element as the paper writes it, by differentiable torch operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.kernels.focal import FocalSettings, boundary_logit, halting_shift
from el_plugins.losses.numerics import keep_nonfinite, single_precision
from el_plugins.losses.validation import in_unit_interval


def focal_losses(inputs: Tensor, targets: Tensor, settings: FocalSettings) -> Tensor:
    """Loss of each element by the formula, which is differentiable and the kernels' oracle.

    Args:
        inputs: logits, (..., K), any float dtype.
        targets: class indices without the last dimension, or dense targets in the shape of ``inputs``.
        settings: as in :func:`sigmoid_halted_focal_loss`.

    Returns:
        The shape of ``inputs``, float32 or float64, differentiable by soft ``targets`` too. NaN for a
        target that is out of range.
    """
    x = single_precision(inputs)
    if targets.dim() < inputs.dim():
        label = targets.unsqueeze(-1)
        ignored = label < 0
        x = x.masked_fill(ignored, 0)
        positive = label == torch.arange(x.size(-1), device=x.device)
        finite = x.isfinite() & (label <= x.size(-1))
        return keep_nonfinite(focal_elements(x, positive, settings), finite).masked_fill(ignored, 0)
    if targets.is_floating_point():
        t, yes = targets.to(x.dtype), torch.ones_like(x, dtype=torch.bool)
        loss = t * focal_elements(x, yes, settings) + (1 - t) * focal_elements(x, ~yes, settings)
    else:
        loss = focal_elements(x, targets.bool(), settings)
    return keep_nonfinite(loss, x.isfinite() & in_unit_interval(targets))


def focal_elements(x: Tensor, positive: Tensor, settings: FocalSettings) -> Tensor:
    """Loss of each element whose label is ``positive``.

    Args:
        x: logits, float32 or float64, any shape.
        positive: bool, the shape of ``x``: t = 1.
        settings: as in :func:`sigmoid_halted_focal_loss`.

    Returns:
        The shape and dtype of ``x``.
    """
    alpha, gamma, halt, phi = settings
    signed = torch.where(positive, x, -x)  # logit of p_t
    log_p = F.logsigmoid(signed)
    # (1-p_t)**gamma through its logarithm: a pow has an infinite slope at 0 for gamma < 1.
    loss = -(gamma * F.logsigmoid(-signed)).exp() * log_p
    if phi < 1:
        confident = signed if halt == "both" else x
        halted = confident > boundary_logit(phi)
        shift = halting_shift(phi, gamma) * torch.ones_like(x)
        if halt == "foreground":
            halted = halted & positive
        elif halt == "authors":
            shift = torch.where(positive, shift, halting_shift(1 - phi, gamma))
        loss = torch.where(halted, -(log_p + shift), loss)
    if alpha >= 0:
        loss = loss * torch.where(positive, torch.tensor(alpha, dtype=x.dtype, device=x.device), 1 - alpha)
    return loss
