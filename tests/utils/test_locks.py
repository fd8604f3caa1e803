"""One process at a time, however the others ended."""

import subprocess
import sys
import time

import pytest

from el_plugins.utils.locks import locked

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from el_plugins.utils.locks import locked
with locked(Path(sys.argv[1])) as lock:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"], pass_fds=(lock,))
    print("held", flush=True)
    os.kill(os.getpid(), 9)
"""


def test_another_file_is_left_alone(tmp_path):
    path = tmp_path / "mine.lock"
    path.write_text("a thesis")
    with pytest.raises(ValueError, match=r"mine\.lock exists and is not a lock"), locked(path):
        pass
    assert path.read_text() == "a thesis"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"mine\.lock is not UTF-8 text"), locked(path):
        pass
    assert path.read_bytes() == b"\xff\xfe"


def test_a_child_of_a_killed_holder_still_holds(tmp_path, capsys):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        holder.wait()
        with locked(path):
            assert time.monotonic() - started > 1
    assert f"is in use, by process {holder.pid} or a child of it: waiting" in capsys.readouterr().out
