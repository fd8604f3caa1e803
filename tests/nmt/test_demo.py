"""The demo, small: the pinned packages, real commands, killed on the way and started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import REPOSITORY, run

pytest.importorskip("fairseq")
pytest.importorskip("sacremoses")

pytestmark = pytest.mark.long


def test_killed_and_started_again(tmp_path):
    folder = tmp_path / "de-en"
    command = [sys.executable, "-m", "el_plugins.nmt.demo", "--updates", "240", "--folder", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True) as process:
        deadline = time.monotonic() + 900
        while not (folder / "ce_ls" / "checkpoints" / "checkpoint1.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (folder / "ce_ls" / "trained").exists()
    output = run(*command, cwd=REPOSITORY)
    assert "| system | updates |" in output
    log = (folder / "ce_ls" / "train.log").read_text()
    assert "Loaded checkpoint" in log
    results = json.loads((folder / "results.json").read_text())
    assert set(results["systems"]) == {"ce_ls", "el_ls"}
    assert sum(1 for _ in (folder / "corpus" / "text" / "train.en").open()) >= 10_000
    for side in ("en", "de"):
        parts = [
            (folder / "corpus" / "text" / f"{split}.{side}").read_text()
            for split in ("train", "valid", "test")
        ]
        lines = [line.lower() for part in parts for line in part.splitlines()]
        assert len(lines) == len(set(lines))
    before = (folder / "el_ls" / "generate.txt").stat().st_mtime
    assert "done in 0." in run(*command, cwd=REPOSITORY)
    assert (folder / "el_ls" / "generate.txt").stat().st_mtime == before
    other = run(*command[:4], "241", *command[5:], cwd=REPOSITORY, check=False)
    assert "was made with other settings (updates)" in other
    shutil.rmtree(folder)
