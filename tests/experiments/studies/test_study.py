"""Verdicts, settings, tables and resuming, on a study of one line."""

import json
import math

import pytest
import torch
import yaml

from tests.commands import REPOSITORY

pytest.importorskip("accelerate")
pytest.importorskip("timm")
pytest.importorskip("sklearn")
pytest.importorskip("torchvision")

from el_plugins.metrics import require_finite
from el_plugins.utils.divergence import DIVERGED, DivergedError
from experiments.studies import report
from experiments.studies.settings import Settings, read_settings
from experiments.studies.study import Claim, Study, run_study
from experiments.studies.training import learning_rates

EXAMPLES = REPOSITORY / "examples" / "studies"


@pytest.mark.parametrize(
    ("ours", "lower", "verdict"),
    [
        ([2.0, 3.0, 2.5, 3.5, 2.2], False, "reproduced"),
        ([2.0, 3.0, 2.5, 3.5, 2.2], True, "opposite"),
        ([2.0, -3.0, 2.5, -1.4, 0.2], False, "same direction, not significant"),
        ([1.0], True, "opposite direction, not tested"),
        ([0.0, 0.0], False, "no difference"),
    ],
)
def test_verdict(ours, lower, verdict):
    results = {
        "EL": {seed: {"a": 90 + value} for seed, value in enumerate(ours)},
        "CE": {seed: {"a": 90.0} for seed in range(len(ours))},
    }
    assert Claim("EL", "CE", "a", "", lower).verdict(results)[0] == verdict


@pytest.mark.parametrize(
    ("record", "verdict"), [({"diverged": 12}, "no result"), ({"a": None}, "nothing to compare")]
)
@pytest.mark.parametrize("system", ["EL", "CE"])
def test_no_verdict_on_what_has_no_score(system, record, verdict):
    results = {name: {1: {"a": 90.0}, 2: {"a": 91.0}} for name in ("EL", "CE")}
    results[system][2] = record
    assert Claim("EL", "CE", "a", "").verdict(results)[0] == verdict


def test_a_diverged_run_stops_no_other_and_is_not_tried_again(tmp_path, capsys):
    calls = []

    def run(settings, system, seed):
        calls.append((system, seed))
        if (system, seed) == (2, 1):
            raise DivergedError(12)
        if (system, seed) == (3, 2):
            require_finite(logits=torch.tensor([float("inf")]))
        return {"score": float(system), "few": None}

    systems = {"CE": 1, "EL": 2, "EL 1": 3}
    claims = [Claim("EL", "CE", "score", "more")]
    drawn = []
    study = Study(
        "A title", "Table 0", systems, run, {"score": "{:.1f}", "few": "{:.1f}"}, claims,
        figures={"one": lambda axes, results: drawn.extend(results)},
    )  # fmt: skip
    settings, page = Settings(seeds=[1, 2]), tmp_path / "page.md"
    results = run_study(study, settings, tmp_path / "s")
    assert len(calls) == 6
    path = tmp_path / "s" / "runs" / "EL-seed1.json"
    assert json.loads(path.read_text()).keys() == {"diverged", "seconds"}
    assert f"EL, seed 1: diverged at step 12; to try it again, delete {path}" in capsys.readouterr().err
    section = report.section(study, "a", settings, results, page)
    rows = {line.split("|")[1].strip(): line for line in section.splitlines() if line.startswith("|")}
    assert rows["CE"].replace(" ", "") == "|CE|1.0±0.0|-|"
    assert rows["EL"].replace(" ", "") == "|EL|*diverged*|*diverged*|"
    assert "- EL: seed 1 diverged at step 12\n- EL 1: seed 2 diverged after the last step" in section
    assert "| diverged | no result |" in rows["score: EL above CE"]
    assert drawn == ["CE"]
    assert "EL 1: diverged" in (tmp_path / "page" / "a_one.svg").read_text()
    report.write_page({"a": section}, {"a": report.numbers(results)}, page, "a command")
    numbers = json.loads(page.with_suffix(".json").read_text())["a"]
    assert numbers["EL"] == {"1": {"diverged": 12}, "2": {"score": 2.0, "few": None}}
    assert numbers["EL 1"]["2"] == {"diverged": None}

    run_study(study, settings, tmp_path / "s")
    assert len(calls) == 6
    assert f"to try it again, delete {path}" in capsys.readouterr().err
    path.unlink()
    run_study(study, settings, tmp_path / "s")
    assert calls[6:] == [(2, 1)]


def a_study(calls):
    def run(settings, system, seed):
        calls.append((system, seed))
        return {"score": 10.0 * system + seed, "logits": [1, 2]}

    return Study("A title", "Table 0", {"CE": 1, "EL, x": 2}, run, {"score": "{:.1f}"}, [])


def test_a_measure_that_overflows_is_no_result_and_stops_no_other(tmp_path):
    def run(settings, value, seed):
        return {"energies": [value, 1.0]}

    study = Study("t", "p", {"a": -math.inf, "b": 2.0}, run, measures={}, claims=[])
    results = run_study(study, Settings(seeds=[1]), tmp_path)
    assert results["a"][1][DIVERGED] is None
    assert results["b"][1]["energies"] == [2.0, 1.0]


def test_only_what_is_missing_runs(tmp_path):
    calls = []
    first = run_study(a_study(calls), Settings(seeds=[1]), tmp_path / "s")
    again = run_study(a_study(calls), Settings(seeds=[1, 2]), tmp_path / "s")
    assert calls == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert again["CE"][1] == first["CE"][1]
    assert again["CE"][2] == {"score": 12.0, "logits": [1, 2], "seconds": again["CE"][2]["seconds"]}
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
    settings = read_settings({"epochs": 2, "batch_size": 7}, path, ["lr=0.25", "seeds=[3,4]"])
    assert (settings.epochs, settings.batch_size, settings.lr, settings.seeds) == (3, 7, 0.25, [3, 4])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("epochs=0", "epochs must be 1 or more, got 0"),
        ("lr=-1", "lr must be above 0 .* got -1.0"),
        ("optimizer=sdg", "one of .*adamw.*, got 'sdg'"),
        ("epoch=3", "epoch"),
        ("tail=0.5", "tail must be 1 or more, got 0.5"),
        ("schedule=linear", "schedule must be one of one_cycle, cosine, steps, got 'linear'"),
        ("drops=[0.5]", "drops need schedule=steps"),
        ("deferred=1", "shares of the training, between 0 and 1, got .* and 1.0"),
        ("auto_attacked=301", "auto_attacked must be at most the 300 of attacked, got 301"),
        ("epochs=many", "many"),
        ("seeds=[1,1]", r"all different, got \[1, 1\]"),
    ],
)
def test_bad_settings_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        read_settings({}, None, [given])


def test_a_claim_of_one_data_set_has_no_verdict_on_another():
    # Cross-entropy is better calibrated on one of the paper's data sets, encouraging loss on the other.
    claims = [
        Claim("EL", "CE", "ece", "lower here", lower=True, data="mnist"),
        Claim("EL", "CE", "ece", "higher here", data="cifar10"),
    ]
    study = Study("A title", "Table 0", {}, lambda *_: {}, {}, claims)
    results = {"EL": {1: {"ece": 2.0}}, "CE": {1: {"ece": 1.0}}}
    rows = {
        data: report.verdicts(study, Settings(data=data), results) for data in ("mnist", "cifar10", "digits")
    }
    assert "opposite direction" in rows["mnist"]
    assert "higher here" not in rows["mnist"]
    assert "same direction" in rows["cifar10"]
    assert " here" not in rows["digits"]


def test_a_cosine_falls_to_nothing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = learning_rates(optimizer, Settings(lr=0.5, schedule="cosine"), 10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * step / 10)) for step in range(10)])


def test_drops_make_the_learning_rate_fall_at_shares_of_the_training():
    settings = Settings(lr=0.5, schedule="steps", drops=[0.5, 0.65])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=settings.lr)
    schedule = learning_rates(optimizer, settings, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5] * 50 + [0.05] * 15 + [0.005] * 35)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_example_settings(path):
    text = path.read_text()
    command = text.splitlines()[0]
    names = command.split("experiments.studies ")[1].split(" --settings ")[0].split()
    assert command.endswith(f"--settings examples/studies/{path.name}")
    for name in names:
        study = pytest.importorskip(f"experiments.studies.{name}", exc_type=ImportError).STUDY
        assert read_settings(study.defaults, path, []).data == yaml.safe_load(text)["data"]
