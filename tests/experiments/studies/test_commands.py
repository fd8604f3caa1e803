"""Every study as a user runs it, with one epoch: it trains, measures and reports."""

import json
import re
import sys
from importlib.util import find_spec

import pytest

from tests.commands import REPOSITORY, run

for package in ("accelerate", "timm", "sklearn", "torchmetrics"):
    pytest.importorskip(package)

from experiments.studies.__main__ import main
from tests.experiments.studies.graph_files import write_paths

NAMES = ["classification", "mse", "long_tail", "focal", "probe", "energy", "ood", "calibration"]
NAMES += [
    name
    for name, package in {"large_margin": "pytorch_metric_learning", "graphs": "torch_geometric"}.items()
    if find_spec(package)
]


def studies(*arguments, check=True):
    return run(sys.executable, "-m", "experiments.studies", *arguments, check=check, cwd=REPOSITORY)


def test_every_study(tmp_path):
    write_paths(tmp_path / "data", "SOLUBILITY", 20)  # in place of molecules, which are downloaded
    report = tmp_path / "out" / "studies.md"
    printed = studies(
        *(*NAMES, "seeds=[1]", "epochs=1", f"root={tmp_path / 'data'}"),
        *("--output", report.parent, "--report", report),
    )
    page = report.read_text()
    assert page.count("\n## ") == len(NAMES)
    measures = json.loads((tmp_path / "out" / "studies.json").read_text())
    assert list(measures) == NAMES
    for systems in measures.values():
        assert len({tuple(seeds) for seeds in systems.values()}) == 1
    assert measures["classification"]["CE"]["1"]["accuracy"] > 40  # ten classes
    assert (
        measures["energy"]["EL 1"]["1"]["energy on the data"]
        < measures["energy"]["CE"]["1"]["energy on the data"]
    )
    assert measures["long_tail"]["CE"]["1"].keys() == {"overall", "many", "medium", "few"}
    for figure in (tmp_path / "out" / "studies").glob("*.svg"):
        assert f"studies/{figure.name}" in page
    assert f"wrote {report}" in printed


def test_a_diverging_study_prints_no_score(tmp_path):
    settings = ["ood", "optimizer=sgd", "lr=1e30", "epochs=1", "seeds=[1]", "--output", tmp_path]
    printed = studies(*settings)
    assert "*diverged*" in printed
    assert "100.00" not in printed
    assert "| diverged | no result |" in printed
    record = tmp_path / "ood" / "runs" / "EL_1-seed1.json"
    assert json.loads(record.read_text())["diverged"] == 2  # after one step of 1e30
    before = record.stat().st_mtime_ns
    assert f"EL 1, seed 1: diverged at step 2; to try it again, delete {record}" in studies(*settings)
    assert record.stat().st_mtime_ns == before


@pytest.mark.long
def test_attacks(tmp_path):
    pytest.importorskip("art")
    studies("adversarial", "seeds=[1]", "epochs=2", "--output", tmp_path)
    measures = json.loads((tmp_path / "report_adversarial.json").read_text())["adversarial"]
    for attacked in (measures["CE"]["1"], measures["CE, FGSM training"]["1"]):
        assert attacked["PGD 0.3"] < attacked["PGD 0.05"] < attacked["no attack"]
        assert attacked["PGD 0.1"] <= attacked["FGSM 0.1"]
    assert measures["CE, FGSM training"]["1"]["FGSM 0.3"] > measures["CE"]["1"]["FGSM 0.3"]


def test_bad_input(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["classificatoin"])
    assert "NAME must be all or of classification" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="data must be one of digits, mnist"):
        main(["mse", "data=nowhere", "--output", str(tmp_path)])


def test_options_may_stand_between_the_names(tmp_path):
    settings = tmp_path / "mine.yaml"
    settings.write_text("epochs: 1\nnote: my own note\n")
    options = ["mse", "--settings", settings, "seeds=[1]", "--output", tmp_path / "out", "lr=0.001"]
    main([*map(str, options), "--report", str(tmp_path / "named.md")])
    assert "my own note" in (tmp_path / "named.md").read_text()
    settings = json.loads((tmp_path / "out" / "mse" / "settings.json").read_text())
    assert (settings["epochs"], settings["lr"]) == (1, 0.001)


def test_a_settings_file_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("epochs: 1\nseeds: [1]\n")
    main(["mse", "--settings", "mine.yaml"])
    assert (tmp_path / "outputs" / "studies" / "mine" / "report_mse.md").exists()


def test_what_is_missing_is_named_with_its_download(tmp_path, monkeypatch):
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    message = f"cifar10 is neither in {tmp_path} nor to be downloaded from https://www.cs.toronto.edu"
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(["mse", "data=cifar10", f"root={tmp_path}", "--output", str(tmp_path / "out")])
