"""Preparation killed at random moments: a complete corpus or none, and at the end the same as without."""

import sys
import time

import pytest

from tests.commands import run
from tests.killing import killed_after, leftovers, moments
from tests.nmt.sentences import NEWS, TEST, TRAIN, VALID, write

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")

pytestmark = pytest.mark.trust


def content(folder):
    """All files by name, without the log, which has the time."""
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_preparation(tmp_path, record_property):
    for name, pairs in {"train": TRAIN, "dev": VALID, "test": TEST, "news": NEWS}.items():
        write(tmp_path, name, pairs)
    command = [
        sys.executable,
        "-m",
        "el_plugins.nmt.prepare",
        "--source",
        "de",
        "--target",
        "en",
        "--size",
        60,
    ]
    command += [f"--train={tmp_path / 'train'}", f"--valid={tmp_path / 'dev'}"]
    command += ["--test", f"captions={tmp_path / 'test'}", f"news={tmp_path / 'news'}"]
    started = time.monotonic()
    run(*command, tmp_path / "whole" / "cut")  # benchmark.yaml names its folder
    whole, expected = time.monotonic() - started, content(tmp_path / "whole" / "cut")
    cut, killed = tmp_path / "cut", 0
    for number, seconds in enumerate(moments(12, whole)):
        killed += killed_after(seconds, [*command, cut])
        if cut.exists():
            assert content(cut) == expected
            cut.rename(tmp_path / f"complete{number}")
    run(*command, cut)
    assert content(cut) == expected
    assert not leftovers(tmp_path)
    record_property("tried", killed)
    assert killed
