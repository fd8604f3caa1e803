"""The bonuses b(p) that encouraging loss adds to cross-entropy, defined once for every implementation.

A bonus is a decreasing function of the probability p, so adding it to -log p rewards well-classified
examples. Figures 2 and 3, Tables 3 and 9 of the paper, and its released code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.validation import check_choice, check_number

BONUSES = ("log", "aggressive", "power", "cosine", "none")
BONUSES_WITH_START = {"aggressive": 0.5, "power": 0.0}


@dataclass(frozen=True)
class Bonus:
    """A bonus and its parameters, checked; call it to evaluate ``weight * b(p)``.

    ==========  ====================================================================================
    name        b(p)
    ==========  ====================================================================================
    log         ``log(max(1-p, eps))`` up to ``log_end`` (LE), then the tangent of ``log(1-p)`` there:
                ``log(1-LE) - (p-LE)/(1-LE)``; LE = 1 is the normal bonus (Eq. 6), less is
                conservative (Figure 3)
    aggressive  ``log(max(1-p, eps)) - log(1-start)`` above ``start`` (0.5), else 0 (Tables 3 and 9)
    power       ``start**k - p**k`` above ``start`` (0), else 0, with k = ``exponent``
    cosine      ``cos(pi p) - 1``
    none        0: plain cross-entropy
    ==========  ====================================================================================

    ``eps`` bounds the bonus from below, as in the authors' code, which produced every result of the paper.
    At the bound the value is continuous and the slope drops to 0. With ``eps=0`` the normal and the
    aggressive bonus are Eq. 6 to the letter: unbounded, and divergent at ordinary learning rates.

    Raises:
        ValueError: a parameter is out of range, or ``start`` is given to a bonus that has none.
    """

    name: str = "log"
    log_end: float = 0.75
    weight: float | Tensor = 1.0  # a tensor only in compiled code, which would treat a number as a constant
    start: float | None = None
    exponent: float = 2.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_choice("bonus", self.name, BONUSES)
        check_number("log_end", self.log_end, low=0.0, high=1.0)
        if isinstance(self.weight, Tensor):
            raise ValueError("bonus_weight must be a number, got a tensor")
        check_number("bonus_weight", self.weight, low=0.0)
        check_number("bonus_exponent", self.exponent, above=0.0)
        check_number("bonus_eps", self.eps, low=0.0, below=0.5)  # so only the arg-max class reaches it
        if self.start is not None:
            check_number("bonus_start", self.start, low=0.0, below=1.0)
            if self.name not in BONUSES_WITH_START:
                allowed = " and ".join(BONUSES_WITH_START)
                raise ValueError(
                    f"bonus_start={self.start!r} means nothing for bonus={self.name!r}; "
                    f"only {allowed} have a start"
                )

    def arguments(self) -> dict[str, Any]:
        """This bonus as keyword arguments of the losses."""
        return {
            "bonus": self.name,
            "log_end": self.log_end,
            "bonus_weight": self.weight,
            "bonus_start": self.start,
            "bonus_exponent": self.exponent,
            "bonus_eps": self.eps,
        }

    def settings(self) -> str:
        """The arguments as text, for ``print(module)``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.arguments().items())

    def __call__(self, log_p: Tensor, log_1mp: Tensor) -> Tensor:
        """Evaluate the weighted bonus from two logarithms, each accurate in its own right.

        Args:
            log_p: ``log p``, float32 or float64, any shape; -inf allowed.
            log_1mp: ``log(1 - p)``, same shape and dtype, finite.

        Returns:
            ``weight * b(p)``, same shape and dtype. Differentiable twice wherever b is.
        """
        return self.weight * self._value(log_p, log_1mp)

    def _value(self, log_p: Tensor, log_1mp: Tensor) -> Tensor:
        if self.is_nothing:
            return torch.zeros_like(log_p)
        if self.name == "log":
            bounded = self._bounded(log_1mp)
            if self.log_end == 1:
                return bounded
            # (p-LE)/(1-LE) = 1 - (1-p)/(1-LE), which loses no digits when p and LE are both near 1.
            room = 1 - self.log_end
            tangent = math.log(room) - 1 + log_1mp.exp() / room
            return torch.where(log_1mp < math.log(room), tangent, bounded)
        if self.name == "cosine":
            return torch.cos(math.pi * log_p.exp()) - 1

        start = self.first_p
        if self.name == "aggressive":
            value = self._bounded(log_1mp) - math.log1p(-start)
        else:
            # p**k as exp(k log p): its slope in the logits stays finite at p = 0 for every k > 0.
            value = start**self.exponent - (self.exponent * log_p).exp()
        return torch.where(log_p.exp() > start, value, torch.zeros_like(value))

    def _bounded(self, log_1mp: Tensor) -> Tensor:
        return log_1mp.clamp(min=math.log(self.eps)) if self.eps else log_1mp

    def bonus_grad(self, p: Tensor, scaled_1mp: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """``-scale * weight * p * b'(p)``, the bonus' part of the closed-form gradient.

        Args:
            p: probabilities, float32 or float64, any shape.
            scaled_1mp: ``(1 - p) / scale``, which has all its digits where 1-p itself underflows.
            scale: a positive factor; the result is finite where ``1 / scaled_1mp`` is.
        """
        if self.is_nothing:
            return torch.zeros_like(p)
        if self.name == "log":
            room = 1 - self.log_end
            limited = torch.maximum(scaled_1mp, room / (scale * torch.ones_like(p))) if room else scaled_1mp
            value = p / limited
            if self.eps > room:
                one_minus_p = scaled_1mp * scale
                value = value.masked_fill((one_minus_p < self.eps) & (one_minus_p >= room), 0)
            return self.weight * value
        if self.name == "cosine":
            smaller = torch.minimum(p, scaled_1mp * scale)
            return self.weight * math.pi * scale * p * torch.sin(math.pi * smaller)

        start = self.first_p
        if self.name == "aggressive":
            value = (p / scaled_1mp).masked_fill(scaled_1mp * scale < self.eps, 0)
        else:
            value = scale * self.exponent * p**self.exponent
        return self.weight * torch.where(p > start, value, torch.zeros_like(value))

    @property
    def first_p(self) -> float:
        """The p above which there is a bonus: ``start``, or what stands for it."""
        return BONUSES_WITH_START.get(self.name, 0.0) if self.start is None else self.start

    @property
    def is_nothing(self) -> bool:
        """Whether the loss is plain cross-entropy."""
        return self.name == "none" or (not isinstance(self.weight, Tensor) and self.weight == 0)

    @property
    def is_log_below_half(self) -> bool:
        """Whether b(p) is ``log(1-p)`` for every p <= 1/2."""
        return self.name == "log" and self.log_end >= 0.5
