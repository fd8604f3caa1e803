"""Small disks in memory, and commands that fail on them."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.commands import run

FULL = "No space left on device"


class Disk:
    """A file system of its own in memory."""

    def __init__(self, folder):
        self.folder = folder
        self.filler = folder / "filler"

    def fill(self, kilobytes):
        """Leave room for this much."""
        free = os.statvfs(self.folder)
        self.filler.write_bytes(bytes(free.f_bavail * free.f_frsize - kilobytes * 1024))

    def contents(self):
        """Content by name, without the filler."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path != self.filler]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@contextmanager
def mounted(folder):
    """A disk of 64 MiB at ``folder``; skips the test where nothing can be mounted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def refused(*command, reason=FULL, env=None):
    """Run a command that must end with status 1; its last line."""
    words = ["bash", "-c", '"$@"; echo "status $?" >&2', "-", sys.executable, "-m", *command]
    text = run(*words, check=False, env=env)
    last, status = text.rstrip().splitlines()[-2:]
    assert status == "status 1", text[-3000:]
    assert reason in last, text[-3000:]
    assert "Traceback" not in text, text[-3000:]
    return last
