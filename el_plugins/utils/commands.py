"""Run a framework's commands: looked up beside the Python in use, logged, watched line by line."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from el_plugins.utils.files import naming

ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    # glibc returns each large tensor to the kernel; reusing mapped pages makes CPU training much faster.
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}

SENTENCE = re.compile(r"[A-Z]-\d+\t")  # fairseq-generate's, whose text may look like a path
# What the output is read by, whatever the locale and the log level of this process.
OUTPUT = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "LOGLEVEL": "INFO"}


def environment() -> dict[str, str]:
    """The environment for a command: this process' own, with :data:`ENVIRONMENT` where that is silent."""
    return {**ENVIRONMENT, **os.environ, **OUTPUT}


def check_words(what: str, text: str) -> None:
    """Raise ValueError, naming ``what``, unless ``text`` can be split into words as a shell does."""
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{what}: {error} in {text!r}") from error


def search_path() -> str:
    """PATH with the folder of this Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def prepare_data(command: str, folder: Path) -> None:
    """Run ``prepare`` of the user's own YAML file, a shell command, in ``folder``; its output is shown.

    Raises:
        RuntimeError: it failed.
    """
    print(f"running {command}", flush=True)
    with_path = {**os.environ, "PATH": search_path()}
    if subprocess.run(command, shell=True, cwd=folder, env=with_path, check=False).returncode:
        raise RuntimeError(f"the command that prepares the data failed: {command}")


def find_command(name: str) -> str:
    """Absolute path of a console command, looked for beside this Python first.

    Raises:
        RuntimeError: it is not installed; the message says what to install.
    """
    command = shutil.which(name, path=search_path())
    if command is None:
        raise RuntimeError(f"{name} is not installed: pip install 'el_plugins[fairseq,nmt]'")
    return command


def run(
    command: Sequence[str | Path],
    log: Path,
    watch: Callable[[str], None] | None = None,
    append: bool = False,
    pass_fds: Sequence[int] = (),
) -> None:
    """Run ``command``, its output and errors to ``log``, each line also to ``watch``.

    Output is unbuffered, so that lines of its two streams do not mix. Paths below the current folder are
    logged relative to it, so that logs do not depend on the machine; sentences stay as they are. If this
    process is interrupted, the command is terminated.

    Args:
        command: the first word is looked up by :func:`find_command`.
        append: append to the log instead of replacing it.
        pass_fds: open descriptors that the command inherits.

    Raises:
        RuntimeError: the command is missing or ends with an error; the message has the log's last lines.
    """
    words = [find_command(str(command[0])), *map(str, command[1:])]
    before = log.read_bytes() if append and log.exists() else b""
    with naming(log), log.open("a" if append else "w", encoding="utf-8") as file:
        if before and not before.endswith(b"\n"):  # cut short by a full disk or a loss of power
            file.write("\n")
        here = f"{Path.cwd()}/"
        file.write(shortened(f"$ {shlex.join(words)}\n", here))
        with subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment(),
            pass_fds=pass_fds,
        ) as process:
            assert process.stdout is not None  # for mypy: PIPE was asked for
            try:
                for line in process.stdout:
                    file.write(shortened(line, here))
                    file.flush()
                    if watch:
                        watch(line)
            except BaseException:
                process.terminate()
                raise
    if process.returncode:
        tail = log.read_text(encoding="utf-8").splitlines()[-15:]
        raise RuntimeError(
            "\n".join([f"{command[0]} ended with exit status {process.returncode}; its output ends:", *tail])
        )


def shortened(line: str, here: str) -> str:
    """A line with paths below the folder ``here`` relative to it, unless it is a sentence."""
    return line if here == "//" or SENTENCE.match(line) else line.replace(here, "")


def memory_of_children() -> float:
    """Peak resident memory, in GiB, of the largest process that :func:`run` started and that has ended."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 2 ** (30 if sys.platform == "darwin" else 20)
