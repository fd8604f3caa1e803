"""``el-nmt-benchmark`` killed in training, averaging and generation, and started again: the same results."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.commands import processes, run, wait_until
from tests.killing import killed_after, leftovers, moments

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

# What the run is doing when it is killed, as its progress file says.
STAGES = ["training", "averaging", "translating test"]


@pytest.mark.long
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
            wait_until(partial(reached, folder, stage), process, 300, every=0.01)
            for started in processes(marker):
                os.kill(started, signal.SIGKILL)
        assert not (folder / "result.json").exists()
    run("el-nmt-benchmark", settings, "--output", cut)
    assert (folder / "train.log").read_text().count("$ ") >= 2
    assert "Loaded checkpoint" in (folder / "train.log").read_text()
    assert_same(cut, whole)


@pytest.mark.trust
def test_at_random_moments(tiny_settings, tmp_path, record_property):
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=60, updates=200, average=3)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    started = time.monotonic()
    run("el-nmt-benchmark", settings, "--output", whole)
    seconds = time.monotonic() - started
    command = [Path(sys.executable).with_name("el-nmt-benchmark"), settings, "--output", cut]
    killed = 0
    for moment in moments(10, seconds, first=0.2):
        killed += killed_after(moment, command)
    run(*command)
    assert_same(cut, whole)
    assert not leftovers(cut)
    record_property("tried", killed)
    assert killed


@pytest.mark.trust
def test_a_killed_worker_ends_the_run_in_bounded_time(tiny_settings, tmp_path, record_property):
    settings = tiny_settings(
        tmp_path / "tiny.yaml", tokens=60, updates=100_000, average=3, more="launch: {processes: 2}"
    )
    command = [
        str(Path(sys.executable).with_name("el-nmt-benchmark")),
        str(settings),
        "--output",
        str(tmp_path),
    ]
    marker = f"KILL_TEST={tmp_path.name}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **dict([marker.split("=")])}
    checkpoint = tmp_path / "runs" / "el" / "seed1" / "checkpoints" / "checkpoint1.pt"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(checkpoint.exists, process, 300)
        (worker,) = [number for number in processes(marker) if variables(number).get("LOCAL_RANK") == "1"]
        os.kill(worker, signal.SIGKILL)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "1 of 1 runs failed: el/seed1" in said
    assert "exitcode  : -9" in said
    assert not processes(marker)
    record_property("tried", 1)


def variables(process):
    """The environment of a process."""
    content = Path(f"/proc/{process}/environ").read_text()
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


def assert_same(cut, whole):
    """Compare the results of two outputs."""
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
