"""``el-detection-benchmark`` on a tiny network: whole, again, changed, stopped, on two machines."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.killing import killed_after, leftovers, moments

pytest.importorskip("detectron2")
pytest.importorskip("scipy")

from el_plugins.detection.benchmark.__main__ import main
from tests.commands import processes, refusal, wait_until
from tests.detection.benchmark.command import benchmark, command, rows

FOCAL = ("focal", "")
HALTED = ("halted", "MODEL.META_ARCHITECTURE HaltedFocalRetinaNet MODEL.RETINANET.HALT_THRESHOLD 1")
DIVERGES = ("diverges", "SOLVER.BASE_LR 1e30 SOLVER.WARMUP_ITERS 0 SOLVER.MAX_ITER 9")
FAILS = ("fails", "DATALOADER.SAMPLER_TRAIN None")


def test_failed_and_diverged_runs_stop_no_other(tiny, tmp_path):
    output = tmp_path / "out"
    settings = tiny(FAILS, DIVERGES, HALTED)
    printed = benchmark(settings, "--output", output, check=False)
    assert "el-detection-benchmark: 1 of 3 runs failed: fails/seed1" in printed
    assert "Unknown training sampler: None" in printed
    failed, diverged, halted = rows(output)
    assert "ended with exit status 1" in failed["failed"]
    assert diverged == {"system": "diverges", "seed": 1, "diverged": diverged["diverged"]}
    assert set(halted) == {"system", "seed", "AP", "AP50", "AP75", "APs", "APm", "APl"}
    report = (output / "report.md").read_text()
    assert "*diverged*" in report
    assert "0/1" in report

    # Only the failed one is tried again; and it is the only one that could change.
    again = benchmark(settings, "--output", output, "--systems", "halted", "diverges")
    assert "2 runs in" in again
    assert "2 of them complete already" in again
    assert "diverges/seed1 diverged at step" in again
    before = (output / "runs" / "halted" / "seed1" / "result.json").read_text()
    changed = (settings, "--output", output, "--systems", "halted", "--options")
    assert "was made with other settings (SOLVER.BASE_LR)" in refusal(main, *changed, "SOLVER.BASE_LR 0.5")
    assert "1 of them complete already" in benchmark(*changed, "SOLVER.CHECKPOINT_PERIOD 7")
    assert (output / "runs" / "halted" / "seed1" / "result.json").read_text() == before


def test_other_data_are_refused_and_an_evaluation_is_no_training(tiny, digits, tmp_path):
    output, data = tmp_path / "out", tmp_path / "data"
    shutil.copytree(digits, data)
    settings = tiny(FOCAL, data=data)
    folder = output / "runs" / "focal" / "seed1"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"bbox": {"AP": 77.0}}))
    benchmark(settings, "--output", output)
    assert rows(output)[0]["AP"] != 77.0
    assert (folder / "model_final.pth").exists()
    content = json.loads((data / "train.json").read_text())
    content["annotations"].pop()
    (data / "train.json").write_text(json.dumps(content))
    refused = refusal(main, settings, "--output", output)
    assert "was made with other settings (train data): take another folder" in refused
    next((data / "val").iterdir()).unlink()
    assert "lacks 1 of 2 images" in refusal(main, settings, "--output", output)


@pytest.mark.long
def test_killed_and_started_again(tiny, tmp_path):
    output = tmp_path / "out"
    settings = tiny(FOCAL, options="SOLVER.MAX_ITER 20 SOLVER.CHECKPOINT_PERIOD 2")
    words, environment = command(settings, "--output", output)
    marker = f"KILL_TEST={tmp_path.name}"
    environment.update([marker.split("=")])
    folder = output / "runs" / "focal" / "seed1"
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, text=True) as process:
        wait_until((folder / "model_0000003.pth").exists, process, 200, every=0.02)
        for started in processes(marker):
            os.kill(started, signal.SIGKILL)
    assert not (folder / "result.json").exists()
    benchmark(settings, "--output", output)
    assert re.search(r"Starting training from iteration [1-9]", (folder / "train.log").read_text())
    assert rows(output)[0]["AP"] is not None


@pytest.mark.trust
def test_killed_at_random_moments(tiny, tmp_path, record_property):
    settings = tiny(FOCAL, options="SOLVER.MAX_ITER 20 SOLVER.CHECKPOINT_PERIOD 2 TEST.EVAL_PERIOD 0")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    started = time.monotonic()
    benchmark(settings, "--output", whole)
    seconds, killed = time.monotonic() - started, 0
    words, environment = command(settings, "--output", cut)
    for moment in moments(5, seconds, first=0.5):
        killed += killed_after(moment, words, env=environment)
    benchmark(settings, "--output", cut)
    assert rows(cut) == [pytest.approx(row) for row in rows(whole)]
    assert not leftovers(cut)
    record_property("tried", killed)
    assert killed


def two_machines(*arguments, each=((), ()), output=("out", "out"), folder, wait=5):
    """Start the benchmark as two machines; what each printed."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

    def start(rank):
        machine = [
            "--num-machines",
            2,
            "--machine-rank",
            rank,
            "--master",
            f"127.0.0.1:{port}",
            "--wait",
            wait,
        ]
        return benchmark(*arguments, *each[rank], *machine, "--output", folder / output[rank], check=False)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(start, range(2)))


@pytest.mark.long
def test_two_machines_train_together(tiny, tmp_path):
    # One iteration: the small network has layers that no loss needs, which DDP finds in the second.
    settings = tiny(FOCAL, options="SOLVER.MAX_ITER 1")
    first, second = two_machines(settings, folder=tmp_path)
    assert "wrote" in first, first
    assert "wrote" not in second
    folder = tmp_path / "out" / "runs" / "focal" / "seed1"
    assert "World size: 2" in (folder / "train.log").read_text()
    assert (folder / "train.machine1.log").exists()
    (row,) = rows(tmp_path / "out")
    assert "AP" in row, row
    # A rerun leaves nobody waiting.
    first, second = two_machines(settings, folder=tmp_path, wait=1)
    assert "1 of them complete already" in first
    assert "1 of them complete already" in second


@pytest.mark.parametrize(
    ("each", "output", "message"),
    [
        (
            (("--systems", "focal", "halted"), ("--systems", "halted", "focal")),
            ("out", "out"),
            "machines 0 and 1 differ in the order of systems and seeds",
        ),
        pytest.param(
            ((), ()),
            ("out", "other"),
            "machines 0 and 1 differ in the output folder",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ((), ("--options", "SOLVER.BASE_LR 0.5")),
            ("out", "out"),
            "machines 0 and 1 differ in SOLVER.BASE_LR of focal/seed1, SOLVER.BASE_LR of halted/seed1",
            marks=pytest.mark.long,
        ),
    ],
)
def test_machines_that_would_train_different_things_are_refused(tiny, tmp_path, each, output, message):
    for printed in two_machines(tiny(FOCAL, HALTED), each=each, output=output, folder=tmp_path):
        assert message in printed
    assert not (tmp_path / "out" / "runs").exists()


def test_bad_input_is_named(tiny, tmp_path):
    odd = benchmark(tiny(("odd", "SOLVER.BASE_LRR 1")), "--output", tmp_path / "out", check=False)
    assert "the config of system odd: Non-existent key: SOLVER.BASE_LRR" in odd
    assert "Traceback" not in odd
    missing = refusal(main, tiny(FOCAL, data=tmp_path), "--output", tmp_path / "out")
    assert f"{tmp_path / 'train.json'} is not a COCO annotation file" in missing
