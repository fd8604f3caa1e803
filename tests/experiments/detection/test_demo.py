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
