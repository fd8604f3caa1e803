"""Averaging killed at random moments: the old file or the new one, and at the end the new one alone."""

import os
import sys
import time

import pytest
import torch

from tests.commands import run
from tests.killing import killed_after, leftovers, moments

pytestmark = pytest.mark.trust


def test_averaging(tmp_path, record_property):
    paths = [tmp_path / f"{number}.pt" for number in range(3)]
    for path in paths:
        torch.save({"model": {"w": torch.randn(4_000_000)}}, path)
    output, old = tmp_path / "out" / "averaged.pt", b"the old average"
    command = [sys.executable, "-m", "el_plugins.checkpoints.average", "--inputs", *paths, "--output", output]
    started = time.monotonic()
    run(*command)
    whole, new = time.monotonic() - started, output.read_bytes()
    killed = 0
    for seconds in moments(20, whole, first=0.5):
        output.write_bytes(old)
        killed += killed_after(seconds, command)
        assert output.read_bytes() in (old, new)
    run(*command)
    assert output.read_bytes() == new
    assert os.listdir(output.parent) == ["averaged.pt"]
    assert not leftovers(tmp_path)
    record_property("tried", killed)
    assert killed
