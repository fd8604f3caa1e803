"""The bonus over the course of training: left out at first, then brought in."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from torch import nn

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.validation import check_choice, check_count

# How the bonus rises, by the share t in [0, 1] of the warm-up that is done.
SHAPES = {
    "linear": lambda t: t,
    "cosine": lambda t: (1 - math.cos(math.pi * t)) / 2,
    "exp": lambda t: math.expm1(5 * t) / math.expm1(5),
}


def bonus_factor(update: int, delay: int = 0, warmup: int = 0, shape: str = "linear") -> float:
    """The factor in [0, 1] of the bonus' weight after ``update`` updates.

    It is 0 up to ``delay`` and rises to 1 over the next ``warmup`` updates, at once if that is 0. With
    ``t = (update - delay) / warmup`` it is t for ``linear``, ``(1 - cos(pi t)) / 2`` for ``cosine`` and
    ``(e^{5t} - 1) / (e^5 - 1)`` for ``exp``: the authors' ``el_schedule``, whose ``exp`` begins at e^-5.
    """
    if update < delay:
        return 0.0
    if update >= delay + warmup:
        return 1.0
    return SHAPES[shape]((update - delay) / warmup)


class BonusSchedule:
    """Brings the bonus of a loss in late, in the manner of torch's learning-rate schedulers.

    The weight of the bonus becomes its initial weight times :func:`bonus_factor`, when the schedule is built
    and at every :meth:`step`. Up to ``delay`` the loss is plain cross-entropy, bit for bit::

        loss_function = EncouragingLoss(log_end=0.5)
        schedule = BonusSchedule(loss_function, delay=1000, warmup=500, shape="cosine")
        for input, target in batches:
            loss_function(model(input), target).backward()
            optimizer.step()
            schedule.step()

    Args:
        loss: ``EncouragingLoss``, ``LinearEncouragingLoss`` or ``BinaryEncouragingLossWithLogits``, or a
            module that holds any of them.
        delay: updates without the bonus.
        warmup: updates over which the bonus then rises to its weight.
        shape: ``linear``, ``cosine`` or ``exp``.

    Raises:
        ValueError: a negative or fractional number of updates, another shape, or a loss without a bonus.
    """

    def __init__(self, loss: nn.Module, delay: int = 0, warmup: int = 0, shape: str = "linear") -> None:
        check_count("delay", delay)
        check_count("warmup", warmup)
        check_choice("shape", shape, SHAPES)
        # Its own attributes: a compiled module shows those of the module in it, which is listed, too.
        self._losses: list[Any] = [m for m in loss.modules() if isinstance(vars(m).get("bonus"), Bonus)]
        if not self._losses:
            raise ValueError(f"loss must be a module with a bonus, such as EncouragingLoss, got {loss!r}")
        self.delay = delay
        self.warmup = warmup
        self.shape = shape
        for module in self._losses:  # another schedule may have changed it, as with torch's initial_lr
            if not hasattr(module, "initial_bonus_weight"):
                module.initial_bonus_weight = module.bonus.weight
        self.base_weights = [module.initial_bonus_weight for module in self._losses]
        self.last_update = 0
        self._set_weights()

    def step(self) -> None:
        """Count one update and set the weight of the bonus for the next."""
        self.last_update += 1
        self._set_weights()

    def get_last_factor(self) -> float:
        """The factor in [0, 1] that the bonus has now."""
        return bonus_factor(self.last_update, self.delay, self.warmup, self.shape)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: the settings, the initial weights and the updates counted."""
        return {name: value for name, value in vars(self).items() if name != "_losses"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave; this sets the weight of the bonus, too.

        Raises:
            ValueError: it is the state of something else or of another number of losses, or a value in it
                is not allowed; the schedule is then as before.
        """
        if state_dict.keys() != self.state_dict().keys():
            wanted = ", ".join(self.state_dict())
            raise ValueError(f"state_dict must have the keys {wanted}, got {', '.join(state_dict)}")
        weights, count = state_dict["base_weights"], len(self._losses)
        if len(weights) != count:
            raise ValueError(f"base_weights must have one weight for each of {count} losses, got {weights}")
        for name in ("delay", "warmup", "last_update"):
            check_count(name, state_dict[name])
        check_choice("shape", state_dict["shape"], SHAPES)
        for module, weight in zip(self._losses, weights):
            dataclasses.replace(module.bonus, weight=weight)  # refuses one that is not allowed
        vars(self).update(state_dict)
        self._set_weights()

    def _set_weights(self) -> None:
        for module, weight in zip(self._losses, self.base_weights):
            module.bonus = dataclasses.replace(module.bonus, weight=weight * self.get_last_factor())
