"""``el-nmt-benchmark`` killed in training, averaging and generation, and started again: the same results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import processes, run

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

pytestmark = pytest.mark.long

# What the run is doing when it is killed, as its progress file says.
STAGES = ["training", "averaging", "translating test"]


def test_the_same_results_as_without_being_killed(tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=60, updates=300, average=3)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run("el-nmt-benchmark", settings, "--output", whole)

    command = [str(Path(sys.executable).with_name("el-nmt-benchmark")), str(settings), "--output", str(cut)]
    folder = cut / "runs" / "el" / "seed1"
    for stage in STAGES:
        marker = f"KILL_TEST={tmp_path.name}-{stage.split()[0]}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **dict([marker.split("=")])}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 300
            while not reached(folder, stage):
                assert process.poll() is None, f"ended before {stage}"
                assert time.monotonic() < deadline
                time.sleep(0.01)
            for started in processes(marker):
                os.kill(started, signal.SIGKILL)
        assert not (folder / "result.json").exists()
    run("el-nmt-benchmark", settings, "--output", cut)

    log = (folder / "train.log").read_text()
    assert log.count("$ ") >= 2
    assert "Loaded checkpoint" in log
    resumed, expected = (json.loads((f / "runs/el/seed1/result.json").read_text()) for f in (cut, whole))
    assert resumed["scores"] == expected["scores"]
    losses = [
        {u: figures["valid_nll_loss"] for u, figures in one["curve"].items()} for one in (resumed, expected)
    ]
    assert losses[0] == losses[1]
    assert (cut / "results.jsonl").read_text() == (whole / "results.jsonl").read_text()


def reached(folder, stage):
    """Whether the run is at ``stage``; for training, some epochs in."""
    if stage == "training":
        return (folder / "checkpoints" / "checkpoint3.pt").exists()
    progress = folder / "progress.json"
    return progress.exists() and json.loads(progress.read_text())["stage"] == stage
