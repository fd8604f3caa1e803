"""Every study as a user runs it, with one epoch: it trains, measures and reports."""

import json
import sys
from importlib.util import find_spec

import pytest

from tests.commands import REPOSITORY, run

for package in ("accelerate", "timm", "sklearn", "torchmetrics"):
    pytest.importorskip(package)

NAMES = ["classification", "mse", "long_tail", "focal", "probe", "energy", "ood", "calibration"]
NAMES += [
    name
    for name, package in {"large_margin": "pytorch_metric_learning", "graphs": "torch_geometric"}.items()
    if find_spec(package)
]


def studies(*arguments, check=True):
    return run(sys.executable, "-m", "experiments.studies", *arguments, check=check, cwd=REPOSITORY)


def test_every_study(tmp_path):
    report = tmp_path / "out" / "studies.md"
    printed = studies(
        *(*NAMES, "seeds=[1]", "epochs=1", f"root={tmp_path / 'data'}"),
        *("--output", report.parent, "--report", report),
    )
    page = report.read_text()
    assert page.count("\n## ") == len(NAMES)
    found = json.loads((tmp_path / "out" / "studies.json").read_text())
    assert list(found) == NAMES
    for systems in found.values():
        assert len({tuple(seeds) for seeds in systems.values()}) == 1
    assert found["classification"]["CE"]["1"]["accuracy"] > 40  # ten classes
    assert (
        found["energy"]["EL 1"]["1"]["energy on the data"] < found["energy"]["CE"]["1"]["energy on the data"]
    )
    assert found["long_tail"]["CE"]["1"].keys() == {"overall", "many", "medium", "few"}
    for figure in (tmp_path / "out" / "studies").glob("*.svg"):
        assert f"studies/{figure.name}" in page
    assert f"wrote {report}" in printed


@pytest.mark.long
def test_attacks(tmp_path):
    pytest.importorskip("art")
    studies("adversarial", "seeds=[1]", "epochs=2", "--output", tmp_path)
    found = json.loads((tmp_path / "report_adversarial.json").read_text())["adversarial"]
    for attacked in (found["CE"]["1"], found["CE, FGSM training"]["1"]):
        assert attacked["PGD 0.3"] < attacked["PGD 0.05"] < attacked["no attack"]
        assert attacked["PGD 0.1"] <= attacked["FGSM 0.1"]
    assert found["CE, FGSM training"]["1"]["FGSM 0.3"] > found["CE"]["1"]["FGSM 0.3"]


def test_bad_input(tmp_path):
    assert "NAME must be all or of classification" in studies("classificatoin", check=False)
    unknown = studies("mse", "data=nowhere", "--output", tmp_path, check=False)
    assert "data must be one of digits, mnist" in unknown
