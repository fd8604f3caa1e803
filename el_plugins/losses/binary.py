"""Encouraging loss over independent yes/no decisions: binary cross-entropy plus a bonus."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.checks import (
    REDUCTIONS,
    check_choice,
    check_dense_binary,
    check_floating,
    keep_nonfinite,
    reduce,
    single_precision,
)


def binary_encouraging_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    *,
    log_end: float = 0.75,
    bonus: str = "log",
    bonus_weight: float = 1.0,
    bonus_start: float | None = None,
    bonus_exponent: float = 2.0,
    bonus_eps: float = 1e-5,
) -> Tensor:
    r"""Binary cross-entropy plus a bonus, after ``F.binary_cross_entropy_with_logits``.

    With ``p = sigmoid(input)`` and ``p_t = p t + (1-p)(1-t)``, element by element

    .. math:: L = -\log p_t + w \, b(p_t)

    (Eq. 6 of the paper in its binary form).

    Args:
        input: logits, floating, any shape.
        target: 0 or 1, any dtype, the shape of ``input``.
        weight: a factor for each element, broadcast to ``input``.
        reduction: ``none``, ``mean`` (over elements; 0 when there are none) or ``sum``.
        log_end, bonus, bonus_weight, bonus_start, bonus_exponent, bonus_eps: as in
            :func:`~el_plugins.losses.encouraging.encouraging_loss`.

    Returns:
        float32 (float64 for float64 input): a scalar, or input's shape for ``reduction="none"``.

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype. Target values are
            checked on CPU in eager mode only.
    """
    terms = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)
    check_choice("reduction", reduction, REDUCTIONS)
    check_floating("input", input)
    check_dense_binary("target", target, input)
    x = single_precision(input)
    signed = torch.where(target.bool(), x, -x)  # logit of p_t
    log_p = F.logsigmoid(signed)
    loss = terms(log_p, F.logsigmoid(-signed)) - log_p
    if weight is not None:
        loss = loss * weight.to(loss.dtype)
    return reduce(keep_nonfinite(loss, x.isfinite()), reduction)


class BinaryEncouragingLossWithLogits(nn.Module):
    """:func:`binary_encouraging_loss_with_logits` as a module; arguments checked at construction."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        *,
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
        self.reduction = reduction
        self.bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return f"reduction={self.reduction!r}, {self.bonus.settings()}"

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of ``input`` against ``target``, element by element."""
        return binary_encouraging_loss_with_logits(
            input, target, self.weight, self.reduction, **self.bonus.arguments()
        )
