"""How a command ends, seen from outside: one line, status 1, nothing half-written."""

import re
import signal
import subprocess
import sys
import time

import pytest

from el_plugins.utils.program import program

WITHOUT_EXTRAS = """\
import runpy, sys
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("sacrebleu", "jinja2", "detectron2", "omegaconf", "scipy", "submitit"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent)
"""
WRITE_SLOWLY = """\
import sys, time
from pathlib import Path
from el_plugins.utils.files import atomic_file
from el_plugins.utils.program import program
with program("slow", "stopped; start it again"), atomic_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    try:
        time.sleep(60)
    finally:
        time.sleep(1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_old_file_and_one_line(tmp_path, number):
    path = tmp_path / "file"
    path.write_text("old")
    command = [sys.executable, "-c", WRITE_SLOWLY, str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "file.tmp").exists():
            time.sleep(0.01)
            assert process.poll() is None
        for _ in range(3):  # an impatient user's further ones change nothing
            process.send_signal(number)
            time.sleep(0.2)
        assert process.communicate(timeout=30)[1] == "\nslow: stopped; start it again\n"
    assert process.returncode == 1
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("command", "arguments", "extra"),
    [
        ("nmt.score", ["{file}"], "nmt"),
        ("nmt.prepare", "--source a --target b --train x --valid x --test t=x out".split(), "fairseq,nmt"),
        ("nmt.benchmark", ["{file}"], "fairseq,nmt"),
        ("detection.benchmark", ["{file}"], "detectron2"),
    ],
)
def test_a_missing_extra_is_named(command, arguments, extra, tmp_path):
    (tmp_path / "file").write_text("x\n")
    code = WITHOUT_EXTRAS + f"runpy.run_module('el_plugins.{command}', run_name='__main__', alter_sys=True)"
    words = [word.format(file=tmp_path / "file") for word in arguments]
    for given, status in ((words, 1), (["--help"], 0)):
        done = subprocess.run(
            [sys.executable, "-c", code, *given], capture_output=True, text=True, check=False
        )
        assert done.returncode == status
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert re.fullmatch(rf"[\w-]+: \w+ is not installed: pip install 'el_plugins\[{extra}\]'\n", done.stderr)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("this and that"), "name: this and that"),
        (OSError(28, "No space left on device", "file"), "name: file: No space left on device"),
        (RuntimeError("two\nlines"), "name: two\nlines"),
    ],
)
def test_errors_are_words_and_handlers_come_back(error, message):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as raised, program("name"):
        raise error
    assert raised.value.code == message
    assert signal.getsignal(signal.SIGTERM) is before
    with program("name"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
