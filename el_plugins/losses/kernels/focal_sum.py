"""The sum of halted focal loss: on a GPU its gradient is made in forward, where the logits are read once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from el_plugins.losses.kernels import focal_function
from el_plugins.losses.kernels.fallback import with_fallback
from el_plugins.losses.kernels.focal import FocalSettings
from el_plugins.losses.kernels.scaling import scaled
from el_plugins.losses.kernels.transforms import is_transformed


def focal_sum(
    x: Tensor, target: Tensor, settings: FocalSettings, path: str, divisor: Tensor | float
) -> Tensor:
    """Sum of the losses of logits (n, K) by ``path``, over ``divisor``: a number or a scalar tensor."""
    if is_early(x, path):
        return FocalSum.apply(x, target, settings, divisor)
    loss = focal_function.FocalLoss.apply(x, target, settings, path, True)
    return loss if isinstance(divisor, (int, float)) and divisor == 1 else loss / divisor


def is_early(x: Tensor, path: str) -> bool:
    """Whether forward computes the gradient.

    In fp16 it would underflow, since loss scaling comes later; and what transforms and forward mode ask for
    is known to :class:`focal_function.FocalLoss` alone.
    """
    wanted = path == "triton" and x.requires_grad and torch.is_grad_enabled()
    in_forward_mode = is_transformed() or forward_ad._current_level >= 0
    return wanted and x.dtype in (torch.float32, torch.bfloat16) and not in_forward_mode


class FocalSum(torch.autograd.Function):
    """The sum over ``divisor``. Saves its gradient, and not the logits."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor, settings: FocalSettings, divisor: Tensor | float
    ) -> Tensor:
        """:func:`loss_and_gradient`."""
        from el_plugins.losses.kernels import focal_triton  # Triton is optional

        fast = with_fallback(focal_triton.loss_and_gradient, loss_and_gradient)
        loss, gradient = fast(x.detach(), target, settings, divisor)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """The logits' gradient in their dtype."""
        (gradient,) = ctx.saved_tensors
        return scaled("triton", gradient, grad_output), None, None, None


def loss_and_gradient(
    x: Tensor, target: Tensor, settings: FocalSettings, divisor: Tensor | float
) -> tuple[Tensor, Tensor]:
    """The sum of the losses over ``divisor``, and its gradient in the dtype of ``x``, by plain operations."""
    factor = 1 / torch.as_tensor(divisor, dtype=torch.float32, device=x.device)
    loss = focal_function.losses_eager(x, target, settings, True) * factor
    return loss, focal_function.gradient_eager(x, factor, target, settings)
