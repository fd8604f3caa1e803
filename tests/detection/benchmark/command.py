"""The detection benchmark, run as a user runs it."""

import json
import os
import sys

from tests.commands import REPOSITORY, run


def command(*arguments):
    """The benchmark's command line, and the environment without a GPU."""
    words = [sys.executable, "-m", "el_plugins.detection.benchmark", *map(str, arguments)]
    return words, {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def benchmark(*arguments, check=True):
    """Run ``el-detection-benchmark``; what it printed."""
    words, environment = command(*arguments)
    return run(*words, check=check, env=environment)


def rows(output):
    """The lines of results.jsonl."""
    return [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
