"""The page of the paper's tables, from a study on scikit-learn's digits."""

import pytest

pytest.importorskip("torchvision")

from experiments.studies import paper


def test_a_study_is_shown_when_it_is_complete(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text("data: digits\nepochs: 1\nseeds: [1, 2]\nnote: Tiny.\n")
    monkeypatch.setattr(paper, "SETTINGS", tmp_path)
    monkeypatch.setattr(paper, "RESULTS", tmp_path / "paper")
    monkeypatch.setattr(paper, "SOURCES", (paper.Source("tiny", ("probe",)),))
    not_run = paper.page(str(tmp_path), run=False)
    assert "digits: 0 of 4 runs" in not_run
    assert "| claim" not in not_run
    complete = paper.page(str(tmp_path), run=True)
    assert "Not complete" not in complete
    assert "new classifier: EL 1 above CE" in complete
    assert " to +" in complete or " to -" in complete  # the interval
    assert f"--settings {tmp_path}/tiny.yaml" in complete
    assert paper.page(str(tmp_path), run=False) == complete
    recorded = tmp_path / "paper/tiny/probe/settings.json"
    recorded.write_text(recorded.read_text().replace('"digits"', '"digits re-encoded as JPEG"'))
    assert "Here: digits re-encoded as JPEG, " in paper.page(
        str(tmp_path), run=False
    )  # which are not at hand
    recorded.write_text(recorded.read_text().replace(" re-encoded as JPEG", ""))
    (next((tmp_path / "paper/tiny/probe/runs").iterdir())).unlink()
    assert "3 of 4 runs" in paper.page(str(tmp_path), run=False)
    with (tmp_path / "tiny.yaml").open("a") as file:
        file.write("lr: 0.5\n")
    with pytest.raises(ValueError, match=r"probe was made with other settings \(lr\)"):
        paper.page(str(tmp_path), run=False)


def test_a_study_that_cannot_run_stops_no_other(tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.yaml").write_text("data: digits\nepochs: 1\nseeds: [1]\n")
    monkeypatch.setattr(paper, "SETTINGS", tmp_path)
    monkeypatch.setattr(paper, "RESULTS", tmp_path / "paper")
    monkeypatch.setattr(paper, "SOURCES", (paper.Source("tiny", ("mse", "probe")),))
    begun = []

    def run_study(study, settings, folder):
        begun.append(folder.name)
        raise RuntimeError("no network")

    monkeypatch.setattr(paper, "run_study", run_study)
    assert "digits: 0 of" in paper.page(str(tmp_path), run=True)
    assert begun == ["mse", "probe"]
    assert capsys.readouterr().err == "mse, digits: no network\nprobe, digits: no network\n"
