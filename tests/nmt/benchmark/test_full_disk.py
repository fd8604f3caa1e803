"""``el-nmt-benchmark`` on a disk that is full: at the start, in training, when it reports."""

import sys

import pytest

from tests.commands import run
from tests.disks import FULL, refused
from tests.killing import leftovers

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

pytestmark = pytest.mark.trust


@pytest.mark.parametrize("room", [0, 40])
def test_translation_benchmark(disk, room, tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=200, updates=6, average=2)
    output = disk.folder / "out"
    disk.fill(room)
    words = ["el_plugins.nmt.benchmark", settings, "--output", output]
    text = run(sys.executable, "-m", *words, check=False)
    assert FULL in text or "ended without a result" in text, text[-3000:]
    assert not (output / "results.jsonl").exists()
    disk.filler.unlink()
    assert "report.html" in run(sys.executable, "-m", *words)
    assert not leftovers(output)


def test_reports(disk, tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=200, updates=6, average=2)
    words = ["el_plugins.nmt.benchmark", settings, "--output", disk.folder / "out"]
    run(sys.executable, "-m", *words)
    before = disk.contents()
    disk.fill(0)
    refused(*words)
    assert disk.contents() == before
