"""How the tests start the IWSLT recipes."""

import shutil
import subprocess
import sys

from tests.commands import REPOSITORY, TINY_MODEL, run

# Ten epochs of one or two updates: as many checkpoints as are averaged.
SMALL = [*TINY_MODEL, "--num-workers", "0", "--eval-bleu-args", '{"beam": 1, "max_len_b": 5}']
ENVIRONMENT = {
    "PYTHON": sys.executable,
    "PYTHONPATH": str(REPOSITORY),
    "NUM_GPUS": "0",
    "MAX_TOKENS": "2048",
    "UPDATE_FREQ": "1",
    "ANY_BATCH": "1",
}


def words(script, output, archive, *arguments):
    """The command line of a recipe with one seed."""
    command = ["bash", script, "--seeds", "1", "--output", output, "--archive", archive, *arguments]
    return [str(word) for word in command]


def recipe(script, output, archive, *arguments, check=True, **environment):
    """Run a recipe to its end; what it printed."""
    command = words(script, output, archive, *arguments)
    return run(*command, check=check, env={**ENVIRONMENT, **environment})


def start(script, output, archive, *arguments, stdout=subprocess.PIPE, **environment):
    """A recipe that runs beside the test."""
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", **environment}
    command = words(script, output, archive, *arguments)
    return subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.STDOUT, text=True)


def prepared(de_en, folder):
    """A new output folder with the corpus that was made before."""
    shutil.copytree(de_en[0] / "data", folder / "data")
    return folder
