"""Tests over seeds against values worked by hand."""

import pytest

pytest.importorskip("scipy")

from el_plugins.utils.statistics import paired_t_test


def test_over_seeds_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) with 2 degrees of freedom, where
    # p = 1 - t / sqrt(t^2 + 2) and the 97.5 % quantile is 4.30265.
    test = paired_t_test({1: 31.0, 2: 33.0, 3: 36.0, 9: 1.0}, {3: 33.0, 2: 31.0, 1: 30.0, 8: 2.0})
    assert test["seeds"] == 3
    assert test["difference"] == pytest.approx(2.0)
    assert test["p_value"] == pytest.approx(1 - 2 * 3**0.5 / 14**0.5)
    assert test["low"] == pytest.approx(2 - 4.30265 / 3**0.5, abs=1e-4)
    assert test["high"] == pytest.approx(2 + 4.30265 / 3**0.5, abs=1e-4)


@pytest.mark.parametrize("scores", [{1: 30.0}, {1: 31.0, 2: 31.0}])
def test_nothing_to_test(scores):
    test = paired_t_test(scores, {1: 30.0, 2: 30.0})
    assert test["difference"] is not None
    assert test["p_value"] is None
    assert paired_t_test(scores, {})["difference"] is None


def test_rounding_is_no_difference():
    # Each differs by 0.1, and as floats by a little more or less.
    system, baseline = {1: 98.67, 2: 98.55, 3: 98.89}, {1: 98.57, 2: 98.45, 3: 98.79}
    test = paired_t_test(system, baseline)
    assert len({system[seed] - baseline[seed] for seed in system}) > 1
    assert test["difference"] == pytest.approx(0.1)
    assert test["p_value"] is test["low"] is None
    assert paired_t_test({1: 0.1 + 0.2, 2: 1.0, 3: 1.2}, {1: 0.3, 2: 1.2, 3: 1.0})["difference"] == 0.0
