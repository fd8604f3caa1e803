"""Verdicts, settings, tables and resuming, on a study of one line."""

import json

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("timm")
pytest.importorskip("sklearn")

from experiments.studies import report
from experiments.studies.settings import Settings, read_settings
from experiments.studies.study import Claim, Study, run_study


@pytest.mark.parametrize(
    ("ours", "lower", "verdict"),
    [
        ([2.0, 3.0, 2.5, 3.5, 2.2], False, "reproduced"),
        ([2.0, 3.0, 2.5, 3.5, 2.2], True, "opposite"),
        ([2.0, -3.0, 2.5, -1.4, 0.2], False, "same direction, not significant"),
        ([1.0], True, "opposite direction, not significant"),
        ([0.0, 0.0], False, "no difference"),
        ([float("nan"), float("nan")], False, "nothing to compare"),
    ],
)
def test_verdict(ours, lower, verdict):
    results = {
        "EL": {seed: {"a": 90 + value} for seed, value in enumerate(ours)},
        "CE": {seed: {"a": 90.0} for seed in range(len(ours))},
    }
    assert Claim("EL", "CE", "a", "", lower).verdict(results)[0] == verdict


def a_study(calls):
    def run(settings, system, seed):
        calls.append((system, seed))
        return {"score": 10.0 * system + seed, "kept": [1, 2]}

    return Study("A title", "Table 0", {"CE": 1, "EL, x": 2}, run, {"score": "{:.1f}"}, [])


def test_only_what_is_missing_runs(tmp_path):
    calls = []
    first = run_study(a_study(calls), Settings(seeds=[1]), tmp_path / "s")
    again = run_study(a_study(calls), Settings(seeds=[1, 2]), tmp_path / "s")
    assert calls == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert again["CE"][1] == first["CE"][1]
    assert again["CE"][2] == {"score": 12.0, "kept": [1, 2], "seconds": again["CE"][2]["seconds"]}
    with pytest.raises(ValueError, match=r"other settings \(lr\)"):
        run_study(a_study(calls), Settings(lr=1.0), tmp_path / "s")


def test_page(tmp_path):
    study, page = a_study([]), tmp_path / "page.md"
    results = run_study(study, Settings(seeds=[1, 2]), tmp_path / "s")
    section = report.section(study, "a", Settings(seeds=[1, 2]), results, page)
    assert "|  EL, x | 21.5 ± 0.7 |" in section
    report.write_page({"a": section}, {"a": report.numbers(results)}, page, "a command")
    assert "`a command`" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["a"]["CE"]["2"] == {"score": 12.0}


def test_settings_layers(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nlr: 0.5\n")
    found = read_settings({"epochs": 2, "batch_size": 7}, path, ["lr=0.25", "seeds=[3,4]"])
    assert (found.epochs, found.batch_size, found.lr, found.seeds) == (3, 7, 0.25, [3, 4])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("epochs=0", "epochs must be 1 or more, got 0"),
        ("lr=-1", "lr must be above 0 .* got -1.0"),
        ("optimizer=sdg", "one of .*adamw.*, got 'sdg'"),
        ("epoch=3", "epoch"),
        ("epochs=many", "many"),
        ("seeds=[1,1]", r"all different, got \[1, 1\]"),
    ],
)
def test_bad_settings_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        read_settings({}, None, [given])
