"""One process at a time in a folder, however the others ended."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the file ``path`` alone, waiting (and saying so) while another process holds it.

    Yields:
        The lock's descriptor. A child that is given it holds the lock, too: should this process be killed,
        the next one waits until the child, which still writes here, has ended.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path.parent} is in use, by process {path.read_text()} or a child of it: waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()
