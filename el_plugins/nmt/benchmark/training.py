"""The training of a run, and the average of its last checkpoints."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

import torch

from el_plugins.checkpoints.average import average_checkpoints, save_checkpoint
from el_plugins.checkpoints.choose import numbered_checkpoints
from el_plugins.checkpoints.repair import repair_last
from el_plugins.checkpoints.safe_loading import load_checkpoint
from el_plugins.nmt.benchmark.launch import CPU, Machines, find_machines, launcher
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.training_log import (
    ended_by_divergence,
    gpu_memory,
    nonfinite_update,
    training_line,
)
from el_plugins.utils import commands
from el_plugins.utils.divergence import DivergedError
from el_plugins.utils.files import read_json, write_json, write_text

PLUGIN = Path(__file__).resolve().parents[2]


def arguments(run: Run) -> list[str]:
    """fairseq-train's arguments after the data folder; later ones override earlier ones."""
    benchmark = run.benchmark
    ours = ["--user-dir", str(PLUGIN), "--source-lang", benchmark.data.source]
    ours += ["--target-lang", benchmark.data.target, "--criterion", run.system.criterion]
    # A loss with a bonus may be negative and is not comparable across systems. With its default batch-size
    # multiple of 8, fairseq drops the last sentences of a set.
    ours += ["--best-checkpoint-metric", "nll_loss", "--required-batch-size-multiple", "1"]
    # By default fairseq keeps the batches of its first epoch: a resumed run would see different batches.
    ours += ["--update-epoch-batch-itr", "True"]
    # The worker of each epoch lives on, with a copy of the process, until its loader is collected.
    ours += ["--num-workers", "0"]
    ours += ["--keep-last-epochs", str(benchmark.average)]
    given = shlex.split(benchmark.train) + shlex.split(run.system.arguments)
    placed = ["--seed", str(run.seed), "--save-dir", str(run.checkpoints)]
    return [*ours, *given, *placed, "--log-format", "json", "--log-interval", "10"]


def command(run: Run, machines: Machines) -> list[str]:
    """The training's command on this machine."""
    launch = run.benchmark.launch
    words = [*launcher(launch, machines), run.benchmark.data.folder, *arguments(run)]
    if launch.world_size() == 1:  # by default fairseq takes every GPU that it sees
        return [*words, "--distributed-world-size", "1"]
    return words + ([] if torch.cuda.is_available() else CPU)


def train(run: Run, lock: int) -> None:
    """Train unless that is done; a stopped training resumes.

    Args:
        lock: descriptor of the run's lock, which the training holds, too.

    Raises:
        DivergedError: a loss or gradient is not finite.
        RuntimeError: fairseq-train failed.
    """
    if run.trained.exists():
        return
    repair_last(run.checkpoints)
    if is_complete(run):
        write_json(run.trained, {})  # what it cost in memory went with the process that was killed
        return

    def watch(line: str) -> None:
        figures = training_line(line)
        if (step := nonfinite_update(figures)) is not None:
            raise DivergedError(step)
        if "num_updates" in figures:
            speed = float(figures.get("wps", 0))
            run.progress("training", updates=int(figures["num_updates"]), words_per_second=speed)

    words = command(run, find_machines(run.benchmark.launch))
    try:
        commands.run(words, run.log, watch, append=True, pass_fds=(lock,))
    except RuntimeError:
        if ended_by_divergence(run.log):
            raise DivergedError(_crashed_at(run)) from None
        raise
    # If the training was resumed, this is the peak since then.
    write_json(run.trained, {"memory_gib": gpu_memory(run.log) or commands.memory_of_children()})


def max_updates(run: Run) -> int | None:
    """The training's length in updates, if its arguments give it."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--max-update", type=int)
    return parser.parse_known_args(arguments(run))[0].max_update


def is_complete(run: Run) -> bool:
    """Whether the last update was saved before the training was killed: fairseq would do one more."""
    last, wanted = run.checkpoints / "checkpoint_last.pt", max_updates(run)
    if wanted is None or not last.exists():
        return False
    return saved_updates(last) >= wanted


def saved_updates(checkpoint: Path) -> int:
    """The updates after which fairseq saved ``checkpoint``."""
    return load_checkpoint(checkpoint)["optimizer_history"][-1]["num_updates"]


def _crashed_at(run: Run) -> int:
    """The update in which fairseq gave up, from the checkpoint that it then saves; that is deleted."""
    crash = run.checkpoints / "crash.pt"
    done = saved_updates(crash)
    crash.unlink()
    return done + 1


def average(run: Run) -> None:
    """Average the last checkpoints, unless that is done, and record which."""
    if not run.averaged.exists():
        run.progress("averaging")
        paths = checkpoints_to_average(run.checkpoints, run.benchmark.average)
        write_text(_averaged_names(run), json.dumps([path.name for path in paths]))
        save_checkpoint(average_checkpoints(paths), run.averaged)


def checkpoints_to_average(folder: Path, count: int) -> list[Path]:
    """The last ``count`` epoch checkpoints, or as many as there are.

    A training that was shorter than an epoch has none: then its update checkpoints, or else its last one.
    """
    epochs, updates = (numbered_checkpoints(folder, by_update=by_update) for by_update in (False, True))
    return (epochs or updates)[-count:] or [folder / "checkpoint_last.pt"]


def averaged_names(run: Run) -> list[str]:
    """File names of the checkpoints that were averaged."""
    return read_json(_averaged_names(run))


def _averaged_names(run: Run) -> Path:
    return run.folder / "averaged.json"
