"""The kernel of rows as an operator of torch, which ``torch.compile`` and ``torch.export`` keep as it is.

They see its shapes and its gradient, not its code. Backward reads the logits again, so that a compiler may
recompute or save them as it likes.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.kernels.softmax import KernelOptions
from el_plugins.losses.kernels.softmax_rows import losses_and_gradient

# torch.library.custom_op came with torch 2.4.
IS_AVAILABLE = hasattr(torch.library, "custom_op") and importlib.util.find_spec("triton") is not None
NAME = "el_plugins::encouraging_rows"
ARGUMENTS = (
    "Tensor logits, Tensor target, Tensor? weight, int ignore_index, float on_target, float elsewhere, "
    "str bonus, float log_end, float bonus_weight, float? bonus_start, float bonus_exponent, float bonus_eps"
)


def row_losses(
    logits: Tensor, target: Tensor, ignore_index: int, options: KernelOptions
) -> tuple[Tensor, Tensor]:
    """Losses and log p of the targets, (N), of logits (batch, rows, V)."""
    on_target, elsewhere, weight, bonus = options
    arguments = logits, target, weight, ignore_index, on_target, elsewhere
    return torch.ops.el_plugins.encouraging_rows(*arguments, *bonus.arguments().values())


def compute(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    on_target: float,
    elsewhere: float,
    *bonus: Any,
    upstream: Tensor | None = None,
    gradient: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`losses_and_gradient` of an operator's arguments."""
    options = KernelOptions(on_target, elsewhere, weight, Bonus(*bonus))
    return losses_and_gradient(logits.detach(), target, ignore_index, options, None, upstream, gradient)


def compute_gradient(upstream: Tensor, logits: Tensor, *arguments: Any) -> Tensor:
    """The gradient of the logits for that of the losses, (N)."""
    gradient = torch.empty_like(logits)
    compute(logits, *arguments, upstream=upstream, gradient=gradient)
    return gradient


def shapes(logits: Tensor, target: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """What the operator returns, without values."""
    losses = logits.new_empty(target.shape, dtype=torch.float32)
    return losses, torch.empty_like(losses)


def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Save the inputs for :func:`backward`."""
    ctx.save_for_backward(*inputs[:3])
    ctx.numbers = inputs[3:]


def backward(ctx: Any, grad_losses: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    """The gradient of the logits; log p has none."""
    arguments = *ctx.saved_tensors, *ctx.numbers
    gradient = torch.ops.el_plugins.encouraging_rows_gradient(grad_losses, *arguments)
    return (gradient, *[None] * (len(arguments) - 1))


if IS_AVAILABLE:
    torch.library.custom_op(NAME, compute, mutates_args=(), schema=f"({ARGUMENTS}) -> (Tensor, Tensor)")
    torch.library.register_fake(NAME, shapes)
    torch.library.register_autograd(NAME, backward, setup_context=save)
    torch.library.custom_op(
        f"{NAME}_gradient",
        compute_gradient,
        mutates_args=(),
        schema=f"(Tensor upstream, {ARGUMENTS}) -> Tensor",
    )
    torch.library.register_fake(f"{NAME}_gradient", lambda upstream, logits, *_: torch.empty_like(logits))
