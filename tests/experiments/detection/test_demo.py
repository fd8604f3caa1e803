"""The detection demo, short: killed on the way and started again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import REPOSITORY, run

pytest.importorskip("detectron2")
pytest.importorskip("sklearn")

pytestmark = pytest.mark.long


def test_killed_and_started_again(tmp_path):
    folder = tmp_path / "digits"
    run_folder = folder / "runs" / "focal" / "seed1"
    command = [
        sys.executable,
        "-m",
        "experiments.detection.demo",
        "--iterations",
        "120",
        "--folder",
        str(folder),
    ]
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True) as process:
        deadline = time.monotonic() + 600
        while not (run_folder / "last_checkpoint").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (run_folder / "result.json").exists()
    output = run(*command, cwd=REPOSITORY)
    assert "| " in output
    assert "Starting training from iteration 100" in (run_folder / "train.log").read_text()
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [row["system"] for row in rows] == ["focal", "halted_focal"]
    assert rows[0].keys() >= {"AP", "AP frequent", "AP rare"}
    for name in ("report.md", "detections.png", "ap_by_class.png"):
        assert (folder / name).stat().st_size > 0
    assert not list(folder.glob("runs/*/*/model_0*.pth"))
    assert "done in 0." in run(*command, cwd=REPOSITORY)
