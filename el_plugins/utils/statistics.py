"""Means and paired tests over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

ROUNDING = 1e-12  # differences below this share of the scores are the rounding of equal ones


def paired_t_test(system: Mapping[int, float], baseline: Mapping[int, float]) -> dict[str, Any]:
    """Paired comparison of scores by seed, over common seeds.

    Returns:
        ``seeds`` (their number), ``difference`` (mean), ``low`` and ``high`` (its 95 % confidence interval)
        and ``p_value`` of the two-sided paired t-test; the last three are None if there is nothing to test:
        one seed, or the same difference for every seed.
    """
    seeds = sorted(system.keys() & baseline.keys())
    differences = [system[seed] - baseline[seed] for seed in seeds]
    comparison: dict[str, Any] = {
        "seeds": len(seeds),
        "difference": None,
        "low": None,
        "high": None,
        "p_value": None,
    }
    rounding = ROUNDING * max((abs(score) for score in (*system.values(), *baseline.values())), default=0.0)
    if differences:
        mean = float(np.mean(differences))
        comparison["difference"] = mean if abs(mean) > rounding else 0.0
    if differences and np.ptp(differences) > rounding:
        test = ttest_rel([system[seed] for seed in seeds], [baseline[seed] for seed in seeds])
        interval = test.confidence_interval(0.95)
        comparison.update(low=float(interval.low), high=float(interval.high), p_value=float(test.pvalue))
    return comparison


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (of a sample; None for a single value); NaN if a value is NaN."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values corrected for their number by Holm's step-down method; None stays None and is not counted."""
    ordered = sorted((p_value, name) for name, p_value in p_values.items() if p_value is not None)
    corrected: dict[str, float | None] = dict.fromkeys(p_values)
    highest = 0.0
    for smaller, (p_value, name) in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - smaller) * p_value))
        corrected[name] = highest
    return corrected
