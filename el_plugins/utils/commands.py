"""Running a framework's command lines: found beside the Python in use, logged, watched line by line."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    # glibc hands every large tensor back to the kernel; keeping the pages makes CPU training much faster.
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}


def find_command(name: str) -> str:
    """Absolute path of a console command, looked for beside this Python first.

    Raises:
        RuntimeError: it is not installed; the message says what to install.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(f"{name} is not installed: pip install 'el_plugins[fairseq,nmt]'")
    return found


def run(
    command: Sequence[str | Path],
    log: Path,
    watch: Callable[[str], None] | None = None,
    append: bool = False,
    pass_fds: Sequence[int] = (),
) -> None:
    """Run ``command``, its output and errors to ``log``, each line also to ``watch``.

    The command's Python writes line by line, so that its two streams do not cut into each other's lines.
    Paths below the current folder are logged relative to it, for a log to say the same on every machine.
    It is ended when this process is interrupted.

    Args:
        command: the first word is looked up by :func:`find_command`.
        append: add to the log instead of starting it anew.
        pass_fds: open descriptors that the command keeps.

    Raises:
        RuntimeError: the command is missing or ends with an error; the message has the log's last lines.
    """
    words = [find_command(str(command[0])), *map(str, command[1:])]
    with log.open("a" if append else "w", encoding="utf-8") as file:
        here = f"{Path.cwd()}/"
        file.write(f"$ {shlex.join(words)}\n".replace(here, ""))
        with subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**ENVIRONMENT, **os.environ, "PYTHONUNBUFFERED": "1"},
            pass_fds=pass_fds,
        ) as process:
            assert process.stdout is not None  # for mypy: PIPE was asked for
            try:
                for line in process.stdout:
                    file.write(line.replace(here, ""))
                    file.flush()
                    if watch:
                        watch(line)
            except BaseException:
                process.terminate()
                raise
    if process.returncode:
        tail = log.read_text(encoding="utf-8").splitlines()[-15:]
        raise RuntimeError(
            "\n".join([f"{command[0]} ended with exit status {process.returncode}; {log} ends:", *tail])
        )


def memory_of_children() -> float:
    """Peak resident memory, in GiB, of the largest process that :func:`run` started and that has ended."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 2 ** (30 if sys.platform == "darwin" else 20)
