"""The detection demo, short: killed on the way and started again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import REPOSITORY, run, wait_until
from tests.killing import killed_after, leftovers, moments

pytest.importorskip("detectron2")
pytest.importorskip("sklearn")


def demo(folder, iterations):
    """The demo's command."""
    options = ["--iterations", str(iterations), "--folder", str(folder)]
    return [sys.executable, "-m", "experiments.detection.demo", *options]


def rows(folder):
    """A row of results for each run."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.trust
def test_killed_at_random_moments(tmp_path, record_property):
    started = time.monotonic()
    run(*demo(tmp_path / "whole", 2), cwd=REPOSITORY)
    seconds, killed, cut = time.monotonic() - started, 0, tmp_path / "cut"
    for moment in moments(5, seconds, first=0.2):
        killed += killed_after(moment, demo(cut, 2), cwd=REPOSITORY)
    run(*demo(cut, 2), cwd=REPOSITORY)
    expected, resumed = (
        [{key: row[key] for key in ("system", "seed", "AP", "AP50")} for row in rows(tmp_path / name)]
        for name in ("whole", "cut")
    )
    assert resumed == expected
    assert not leftovers(cut)
    record_property("tried", killed)
    assert killed


@pytest.mark.long
def test_killed_and_started_again(tmp_path):
    folder = tmp_path / "digits"
    run_folder = folder / "runs" / "focal" / "seed1"
    command = demo(folder, 120)
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True) as process:
        wait_until((run_folder / "last_checkpoint").exists, process, 600)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (run_folder / "result.json").exists()
    output = run(*command, cwd=REPOSITORY)
    assert "| " in output
    assert "Starting training from iteration 100" in (run_folder / "train.log").read_text()
    results = rows(folder)
    assert [row["system"] for row in results] == ["focal", "halted_focal"]
    assert results[0].keys() >= {"AP", "AP frequent", "AP rare"}
    for name in ("report.md", "detections.png", "ap_by_class.png"):
        assert (folder / name).stat().st_size > 0
    assert not list(folder.glob("runs/*/*/model_0*.pth"))
    assert "done in 0." in run(*command, cwd=REPOSITORY)
