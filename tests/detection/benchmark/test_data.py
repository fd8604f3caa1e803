"""The command that prepares the detection benchmark's data."""

import pytest

pytest.importorskip("detectron2")

from el_plugins.detection.benchmark.data import prepare
from el_plugins.detection.benchmark.settings import read_settings

SETTINGS = """\
data:
  train: {name: mine_train, annotations: train.json, images: train}
  test: {name: mine_test, annotations: test.json, images: test}
  prepare: |
    echo once >> calls
    mkdir -p train test
    touch train.json test.json
config: small_R_18_FPN_scratch.yaml
systems: [{name: focal}]
seeds: [1]
"""
FILES = ["calls", "settings.yaml", "test", "test.json", "train", "train.json"]


def write(folder, text=SETTINGS):
    path = folder / "settings.yaml"
    path.write_text(text)
    return read_settings(path)


def test_it_runs_in_the_settings_folder_where_something_is_missing(tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "settings", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir()
    monkeypatch.chdir(elsewhere)
    benchmark = write(folder)
    for _ in range(2):
        prepare(benchmark, folder)
        assert sorted(entry.name for entry in folder.iterdir()) == FILES
    assert (folder / "calls").read_text() == "once\n"
    assert not list(elsewhere.iterdir())
    (folder / "test.json").unlink()
    prepare(benchmark, folder)
    assert (folder / "calls").read_text() == "once\nonce\n"


def test_a_command_that_fails_is_an_error(tmp_path):
    benchmark = write(tmp_path, SETTINGS.replace("mkdir -p train test", "exit 3"))
    message = r"the command that prepares the data failed: echo once >> calls\s+exit 3"
    with pytest.raises(RuntimeError, match=message):
        prepare(benchmark, tmp_path)
    assert not (tmp_path / "test.json").exists()
