"""fairseq's commands in processes that are forked from one where fairseq is imported already.

Importing it takes longer than all else that a command does in a test. What runs is the same: the command's
entry point in a process of its own, with its arguments and folder.
"""

import multiprocessing
import os
import sys
import tempfile
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import torch

SERVER = multiprocessing.get_context("forkserver")
# torch's optimizers import its compiler.
SERVER.set_forkserver_preload(["fairseq_cli.train", "fairseq_cli.generate", "torch._dynamo"])


def enter(words, folder, environment, outputs):
    """Become the command ``words``, as its script would."""
    os.chdir(folder)
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # torch has read that variable already
    multiprocessing.set_start_method(None, force=True)  # the default, not how this process was started
    warnings.simplefilter("ignore")
    for stream, output in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(output, os.O_WRONLY), stream)
    sys.argv = words
    (command,) = entry_points(group="console_scripts", name=words[0])
    sys.exit(command.load()())


def run_forked(words, folder, environment):
    """Its output, its errors and its exit status."""
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
        names = (output.name, errors.name)
        process = SERVER.Process(target=enter, args=(words, folder or os.getcwd(), environment, names))
        process.start()
        process.join()
        return *(Path(name).read_text() for name in names), process.exitcode
