"""The detection demo, short: killed on the way and started again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import REPOSITORY, run
from tests.killing import killed_after, leftovers, moments

pytest.importorskip("detectron2")
pytest.importorskip("sklearn")


def demo(folder, iterations):
    """The demo's command."""
    options = ["--iterations", str(iterations), "--folder", str(folder)]
    return [sys.executable, "-m", "experiments.detection.demo", *options]


@pytest.mark.trust
def test_killed_at_random_moments(tmp_path, record_property):
    started = time.monotonic()
    run(*demo(tmp_path / "whole", 2), cwd=REPOSITORY)
    seconds, killed, cut = time.monotonic() - started, 0, tmp_path / "cut"
    for moment in moments(5, seconds, first=0.2):
        killed += killed_after(moment, demo(cut, 2), cwd=REPOSITORY)
    run(*demo(cut, 2), cwd=REPOSITORY)
    expected, found = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "cut")
    )
    assert found == expected
    assert not leftovers(cut)
    record_property("tried", killed)
    assert killed


@pytest.mark.long
def test_killed_and_started_again(tmp_path):
    folder = tmp_path / "digits"
    command = demo(folder, 120)
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True) as process:
        deadline = time.monotonic() + 600
        while not (folder / "focal" / "last_checkpoint").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (folder / "focal" / "results.json").exists()
    output = run(*command, cwd=REPOSITORY)
    assert "| " in output
    assert "Starting training from iteration 100" in (folder / "focal" / "train.log").read_text()
    results = json.loads((folder / "results.json").read_text())
    assert set(results["systems"]) == {"focal", "halted_focal"}
    for name in ("report.md", "detections.png", "ap_by_class.png"):
        assert (folder / name).stat().st_size > 0
    assert not list(folder.glob("*/model_0*.pth"))
    assert "done in 0." in run(*command, cwd=REPOSITORY)
