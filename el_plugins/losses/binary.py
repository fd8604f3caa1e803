"""Encouraging loss over independent yes/no decisions: binary cross-entropy plus a bonus."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.numerics import REDUCTIONS, keep_nonfinite, reduce, single_precision
from el_plugins.losses.validation import (
    check_choice,
    check_dense_target,
    check_floating,
    in_unit_interval,
    shape_text,
)


def binary_encouraging_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    *,
    pos_weight: Tensor | None = None,
    log_end: float = 0.75,
    bonus: str = "log",
    bonus_weight: float = 1.0,
    bonus_start: float | None = None,
    bonus_exponent: float = 2.0,
    bonus_eps: float = 1e-5,
) -> Tensor:
    r"""Binary cross-entropy plus a bonus, after ``F.binary_cross_entropy_with_logits``.

    With ``p = sigmoid(input)``, element by element

    .. math::
        L = t \, w_{pos} \, (-\log p + w \, b(p)) + (1-t) \, (-\log(1-p) + w \, b(1-p))

    (the binary form of Eq. 6 of the paper). A soft target t is the probability of the label 1, and the loss
    is its expectation, as in :func:`~el_plugins.losses.encouraging.encouraging_loss` of class probabilities.

    Args:
        input: logits, floating, any shape.
        target: t in the shape of ``input``: floating from 0 to 1, or 0 or 1 in another dtype.
        weight: a factor for each element, broadcast to ``input``.
        reduction: ``none``, ``mean`` (over elements; 0 when there are none) or ``sum``.
        pos_weight: w_pos, a factor for the part of the label 1, broadcast to ``input``.
        log_end, bonus, bonus_weight, bonus_start, bonus_exponent, bonus_eps: as in
            :func:`~el_plugins.losses.encouraging.encouraging_loss`.

    Returns:
        float32 (float64 for float64 input): a scalar, or input's shape for ``reduction="none"``.

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype. Target values are
            checked on CPU in eager mode only; elsewhere one out of range makes its element NaN in loss and
            gradient.
    """
    weighted_bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)
    check_choice("reduction", reduction, REDUCTIONS)
    check_floating("input", input)
    check_dense_target("target", target, input)
    check_factor("weight", weight, input)
    check_factor("pos_weight", pos_weight, input)
    x = single_precision(input)
    t = target.to(x.dtype)
    log_p, log_1mp = F.logsigmoid(x), F.logsigmoid(-x)
    positive = share(t, weighted_bonus(log_p, log_1mp) - log_p)
    if pos_weight is not None:
        positive = positive * pos_weight.to(x.dtype)
    loss = positive + share(1 - t, weighted_bonus(log_1mp, log_p) - log_1mp)
    if weight is not None:
        loss = loss * weight.to(loss.dtype)
    return reduce(keep_nonfinite(loss, x.isfinite() & in_unit_interval(target)), reduction)


def share(probability: Tensor, loss: Tensor) -> Tensor:
    """``probability * loss``, but 0 for an impossible label even where its loss overflows."""
    return probability * loss.masked_fill((probability == 0) & ~loss.isfinite(), 0)


def check_factor(name: str, factor: Tensor | None, input: Tensor) -> None:
    """Raise ValueError unless ``factor`` is None or broadcasts to the shape of ``input``."""
    if factor is None:
        return
    sizes = zip(reversed(factor.shape), reversed(input.shape))
    if factor.dim() > input.dim() or any(size not in (1, expected) for size, expected in sizes):
        raise ValueError(
            f"{name} must broadcast to input's shape {tuple(input.shape)}, got shape {tuple(factor.shape)}"
        )


class BinaryEncouragingLossWithLogits(nn.Module):
    """:func:`binary_encouraging_loss_with_logits` as a module; arguments checked at construction.

    ``weight`` and ``pos_weight`` are buffers, so they move with the module and are saved with it.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        *,
        pos_weight: Tensor | None = None,
        log_end: float = 0.75,
        bonus: str = "log",
        bonus_weight: float = 1.0,
        bonus_start: float | None = None,
        bonus_exponent: float = 2.0,
        bonus_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction = reduction
        self.bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return (
            f"weight={shape_text(self.weight)}, reduction={self.reduction!r}, "
            f"pos_weight={shape_text(self.pos_weight)}, {self.bonus.settings()}"
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of ``input`` against ``target`` of its shape, reduced as ``reduction`` says."""
        return binary_encouraging_loss_with_logits(
            input,
            target,
            self.weight,
            self.reduction,
            pos_weight=self.pos_weight,
            **self.bonus.arguments(),
        )
