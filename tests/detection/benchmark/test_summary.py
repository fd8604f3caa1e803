"""The detection benchmark's table against scipy, and what has no mean."""

import pytest

pytest.importorskip("detectron2")
stats = pytest.importorskip("scipy.stats")

from el_plugins.detection.benchmark.summary import METRICS, differences, scores


def row(system, seed, ap, **more):
    return {"system": system, "seed": seed, **dict.fromkeys(METRICS, ap), **more}


BASELINE = [row("focal", seed, ap) for seed, ap in enumerate((30.0, 31.0, 33.0))]
BETTER = [row("halted", seed, ap) for seed, ap in enumerate((31.0, 33.5, 34.0))]


def test_differences_are_paired_t_intervals():
    third = [row("third", seed, ap) for seed, ap in enumerate((30.0, 30.0, 35.0))]
    tests = differences([*BASELINE, *BETTER, *third], "AP")
    differ = [1.0, 2.5, 1.0]
    assert tests["halted"]["difference"] == pytest.approx(1.5)
    interval = stats.t.interval(0.95, 2, 1.5, stats.sem(differ))
    assert (tests["halted"]["low"], tests["halted"]["high"]) == pytest.approx(interval)
    assert tests["halted"]["holm"] == pytest.approx(2 * stats.ttest_1samp(differ, 0).pvalue)


def test_what_has_no_mean_is_marked():
    diverged = [row("halted", 0, 31.0), {"system": "halted", "seed": 1, "diverged": 7}]
    failed = [row("third", 0, 20.0), {"system": "third", "seed": 1, "failed": "killed"}]
    nothing = [row("fourth", 0, 20.0, APs=None), row("fourth", 1, 21.0)]
    rows = [*BASELINE, *diverged, *failed, *nothing]
    lines = scores(rows)
    assert lines["focal"]["AP"] == "31.33 ± 1.53"
    assert lines["halted"] == {"seeds": "2", **dict.fromkeys(METRICS, "*diverged*")}
    assert (lines["third"]["seeds"], lines["third"]["AP"]) == ("1/2", "20.00")
    assert (lines["fourth"]["AP"], lines["fourth"]["APs"]) == ("20.50 ± 0.71", None)
    tests = differences(rows, "AP")
    assert tests["halted"]["difference"] is None
    assert (tests["third"]["seeds"], tests["third"]["p_value"]) == (1, None)
