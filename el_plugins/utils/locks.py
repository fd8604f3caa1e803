"""A lock on a folder that is released however its holder ends."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from el_plugins.utils.files import naming, read_text


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Lock the file ``path``, waiting (with a message) while another process holds it.

    Yields:
        The lock's descriptor. A child that inherits it also holds the lock: if this process is killed, the
        next one waits until the child has ended.

    Raises:
        ValueError: ``path`` is another file than a lock, which holds a process id.
    """
    with path.open("a+") as file:
        if not re.fullmatch(r"\d*", read_text(path), re.ASCII):
            raise ValueError(f"{path} exists and is not a lock: move it away")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path} is in use, by process {path.read_text()} or a child of it: waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        with naming(path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield file.fileno()
