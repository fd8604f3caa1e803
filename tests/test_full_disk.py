"""Commands on a disk that is full, read-only, missing or foreign: one line, the old files, no leftovers."""

import os
import subprocess
import sys

import pytest
import torch

from tests.commands import run
from tests.disks import FULL, refused
from tests.killing import leftovers
from tests.nmt.sentences import NEWS, TEST, TRAIN, VALID, write

pytest.importorskip("fairseq")
pytest.importorskip("detectron2")
pytest.importorskip("sentencepiece")

pytestmark = pytest.mark.trust


@pytest.fixture
def checkpoints(tmp_path):
    paths = [tmp_path / f"{number}.pt" for number in range(2)]
    for path in paths:
        torch.save({"model": {"w": torch.randn(100_000)}}, path)
    return paths


@pytest.fixture
def text(tmp_path):
    """Arguments of el-nmt-prepare."""
    for name, pairs in {"train": TRAIN, "dev": VALID, "test": TEST, "news": NEWS}.items():
        write(tmp_path, name, pairs)
    parts = [
        f"--train={tmp_path / 'train'}",
        f"--valid={tmp_path / 'dev'}",
        f"--test=news={tmp_path / 'news'}",
    ]
    return ["el_plugins.nmt.prepare", "--source", "de", "--target", "en", "--size", 60, *parts]


@pytest.mark.parametrize("old", [b"", b"precious"], ids=["new", "old"])
@pytest.mark.parametrize("room", [0, 100])
def test_averaging(disk, checkpoints, old, room):
    output = disk.folder / "averaged.pt"
    if old:
        output.write_bytes(old)
    disk.fill(room)
    before = disk.contents()
    command = ["el_plugins.checkpoints.average", "--inputs", *checkpoints, "--output", output]
    assert refused(*command) == f"el-average-checkpoints: {output}: {FULL}"
    assert disk.contents() == before
    disk.filler.unlink()
    run(sys.executable, "-m", *command)
    assert list(disk.contents()) == ["averaged.pt"]


def test_scores(disk, tmp_path):
    (tmp_path / "out").write_text("one two three four\n")
    scores = disk.folder / "scores.json"
    scores.write_text("old")
    disk.fill(0)
    command = ["el_plugins.nmt.score", tmp_path / "out", "--reference", tmp_path / "out", "--json", scores]
    assert refused(*command) == f"el-score: {scores}: {FULL}"
    assert disk.contents() == {"scores.json": b"old"}


@pytest.mark.parametrize("room", [0, 4, 60])
def test_preparation(disk, text, room):
    disk.fill(room)
    refused(*text, disk.folder / "corpus")
    assert not (disk.folder / "corpus").exists()
    assert not leftovers(disk.folder)
    disk.filler.unlink()
    run(sys.executable, "-m", *text, disk.folder / "corpus")
    assert (disk.folder / "corpus" / "bin").is_dir()


def test_a_download(disk, tmp_path):
    (tmp_path / "source").write_bytes(os.urandom(200_000))
    disk.fill(100)
    archive = disk.folder / "de-en.tgz"
    command = [
        "el_plugins.nmt.iwslt",
        "de-en",
        archive,
        tmp_path / "data",
        "--url",
        f"file://{tmp_path / 'source'}",
    ]
    assert f"{archive}" in refused(*command)
    assert disk.contents() == {}


def test_detection_demo(disk):
    disk.fill(300)
    refused("experiments.detection.demo", "--iterations", 2, "--folder", disk.folder / "digits")
    assert not leftovers(disk.folder)
    assert not (disk.folder / "digits" / "data" / "train.json").exists()


def test_a_read_only_disk(disk, checkpoints, text, tmp_path):
    (disk.folder / "old.pt").write_bytes(b"precious")
    subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    average = ["el_plugins.checkpoints.average", "--inputs", *checkpoints, "--output"]
    (tmp_path / "out").write_text("one two three four\n")
    score = ["el_plugins.nmt.score", tmp_path / "out", "--reference", tmp_path / "out", "--json"]
    for command in (
        [*average, disk.folder / "old.pt"],
        [*average, disk.folder / "new" / "averaged.pt"],
        [*score, disk.folder / "scores.json"],
        [*text, disk.folder / "corpus"],
    ):
        refused(*command, reason="Read-only file system")
    assert disk.contents() == {"old.pt": b"precious"}


def test_missing_and_foreign_folders(checkpoints, text, tmp_path):
    file, foreign = tmp_path / "file", tmp_path / "foreign"
    file.write_text("mine")
    foreign.mkdir()
    (foreign / "mine").write_text("mine")
    average = ["el_plugins.checkpoints.average", "--inputs"]
    assert "no such checkpoint" in refused(*average, tmp_path / "none.pt", "--output", file, reason="none.pt")
    refused(*average, *checkpoints, "--output", file / "averaged.pt", reason="File exists")
    refused(*average, *checkpoints, "--output", foreign, reason="exists and is not a regular file")
    refused(*text, foreign, reason="was not made by el-nmt-prepare")
    refused(*text, file, reason="was not made by el-nmt-prepare")
    refused("el_plugins.nmt.benchmark", tmp_path / "none.yaml", reason="none.yaml: No such file")
    assert file.read_text() == (foreign / "mine").read_text() == "mine"
