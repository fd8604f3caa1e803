"""Commands killed with all that they started, and moments for it that a seed decides."""

import os
import random
import signal
import subprocess
import time
from itertools import count

from tests.commands import processes

NUMBERS = count()


def moments(tries, whole, first=0.3, seed=1):
    """Seconds after which to kill a command that takes ``whole``, most of the start left out."""
    generator = random.Random(seed)
    return [whole * generator.uniform(first, 1) for _ in range(tries)]


def killed_after(seconds, command, env=None, cwd=None):
    """Start a command and SIGKILL it and its children after ``seconds``; False if it had ended before."""
    marker = f"KILLED={os.getpid()}-{next(NUMBERS)}"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **(env or {})}
    environment.update([marker.split("=")])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = list(map(str, command))
    with subprocess.Popen(words, env=environment, cwd=cwd, start_new_session=True, **quiet) as process:
        try:
            process.wait(timeout=seconds)
            return False
        except subprocess.TimeoutExpired:
            while started := processes(marker):
                for number in started:
                    try:
                        os.kill(number, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                process.poll()
                time.sleep(0.01)
    return True


def leftovers(folder):
    """Temporary files and folders below ``folder``."""
    return [path for path in folder.rglob("*") if path.suffix in (".tmp", ".unfinished", ".part")]
