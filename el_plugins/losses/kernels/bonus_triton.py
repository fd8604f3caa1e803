"""The bonuses of :mod:`~el_plugins.losses.bonuses` in Triton, for the other kernels: value and slope.

A bonus comes as its name and whether it has a tangent, which are constants of the code, and as the numbers of
:func:`bonus_numbers`.
"""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from el_plugins.losses.bonuses import Bonus


def bonus_numbers(bonus: Bonus) -> tuple[float, float, float, float, float, float]:
    """``(weight, edge, shift, rate, eps, log_eps)``, the numbers that the functions below take.

    The bonus changes at the ``edge``, 1-p = 1 - log_end for ``log`` and p = start for others. The piece
    beyond it contains ``shift`` and ``rate``, the slope of a tangent or the exponent of a power.
    """
    weight = 0.0 if bonus.is_nothing else float(bonus.weight)
    log_eps = math.log(bonus.eps) if bonus.eps else -math.inf
    if bonus.name == "log":
        edge = 1 - bonus.log_end
        shift, rate = (math.log(edge) - 1, 1 / edge) if edge else (0.0, 0.0)
    else:
        edge = bonus.first_p
        rate = bonus.exponent
        shift = math.log1p(-edge) if bonus.name == "aggressive" else edge**rate
    return weight, float(edge), float(shift), float(rate), float(bonus.eps), log_eps


def bonus_constants(bonus: Bonus) -> dict[str, Any]:
    """What of ``bonus`` is a constant of the code: its name, whether it has a tangent, and below p = 1/2."""
    name = "none" if bonus.is_nothing else bonus.name
    is_log = name == "log"
    return {
        "BONUS": name, "TANGENT": is_log and bonus.log_end < 1, "BENT": is_log and bonus.log_end < 0.5
    }  # fmt: skip


@triton.jit
def exp(x):
    """``exp(x)``, 0 below the smallest normal number: half the instructions of Triton's own."""
    return tl.exp2(x * 1.4426950408889634)


@triton.jit
def reciprocal(x):
    """``1 / x`` of x > 0 to some 2 ulp in two instructions, where a division takes eight."""
    root = tl.rsqrt(x)
    return root * root


@triton.jit
def log1p(x):
    """``log(1 + x)`` of x >= 0, which Triton lacks: the logarithm of the rounded sum, corrected."""
    rounded = 1 + x
    return tl.where(rounded == 1, x, tl.log(rounded) * (x / tl.where(rounded == 1, 1.0, rounded - 1)))


@triton.jit
def sine(x):
    """``sin(x)`` of x in [0, pi/2] to float32: the functions of a GPU's library handle any x and spill."""
    y = x * x
    series = 1.6059044e-10 * y - 2.5052108e-08
    series = (series * y + 2.7557319e-06) * y - 1.9841270e-04
    series = (series * y + 8.3333333e-03) * y - 1.6666667e-01
    return x + x * y * series


@triton.jit
def power(p, exponent):
    """``p**exponent`` of p in [0, 1]."""
    return tl.exp2(exponent * tl.log2(p))


@triton.jit
def bonus_value(
    p, log_1mp, one_minus_p, edge, shift, rate, log_eps, BONUS: tl.constexpr, TANGENT: tl.constexpr
):
    """``b(p)``, unweighted, as ``Bonus.__call__`` computes it."""
    if BONUS == "log":
        value = tl.maximum(log_1mp, log_eps)
        if TANGENT:
            value = tl.where(one_minus_p < edge, shift + one_minus_p * rate, value)
    elif BONUS == "cosine":
        half = sine(p * 1.5707963267948966)
        value = -2 * half * half
    elif BONUS == "aggressive":
        value = tl.where(p > edge, tl.maximum(log_1mp, log_eps) - shift, 0.0)
    elif BONUS == "power":
        value = tl.where(p > edge, shift - power(p, rate), 0.0)
    else:
        value = tl.zeros_like(p)
    return value


@triton.jit
def bonus_slope(p, scaled_1mp, scale, edge, rate, eps, BONUS: tl.constexpr, TANGENT: tl.constexpr):
    """``-scale * p * b'(p)``, unweighted, as ``Bonus.bonus_grad`` computes it.

    ``scaled_1mp`` is ``(1 - p) / scale``.
    """
    one_minus_p = scaled_1mp * scale
    if BONUS == "log":
        steepness = 1 / scaled_1mp
        if TANGENT:
            steepness = tl.minimum(steepness, scale * rate)
        value = tl.where((one_minus_p < eps) & (one_minus_p >= edge), 0.0, p * steepness)
    elif BONUS == "cosine":
        value = 3.141592653589793 * scale * p * sine(3.141592653589793 * tl.minimum(p, one_minus_p))
    elif BONUS == "aggressive":
        value = tl.where((p > edge) & (one_minus_p >= eps), p / scaled_1mp, 0.0)
    elif BONUS == "power":
        value = tl.where(p > edge, scale * rate * power(p, rate), 0.0)
    else:
        value = tl.zeros_like(p)
    return value


@triton.jit
def neg_slope(p, weight, edge, rate, BONUS: tl.constexpr, BENT: tl.constexpr):
    """``1 - w p b'(p)`` of p <= 1/2, where 1-p is above any eps; 1 at p = 0."""
    if BONUS == "log":
        slope = (1 - weight) + weight * reciprocal(1 - p)
        if BENT:
            slope = tl.minimum(slope, 1 + weight * (p * rate))
    elif BONUS == "aggressive":
        slope = 1 + weight * tl.where(p > edge, p * reciprocal(1 - p), 0.0)
    else:
        slope = 1 + weight * bonus_slope(p, 1 - p, 1.0, edge, rate, 0.0, BONUS, False)
    return slope
