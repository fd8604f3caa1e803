"""SLURM's queue, and the runs that an earlier start of the benchmark left in it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from submitit import SlurmJob
from submitit.core.utils import DelayedSubmission, JobPaths

from el_plugins.nmt.benchmark.runs import Run


def queue() -> list[str] | None:
    """Numbers of this user's jobs that wait or run; None if SLURM does not answer."""
    # submitit asks sacct, which needs a cluster with accounting; squeue works on any.
    command = ["squeue", "--noheader", "--me", "--format=%A"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if answer.returncode else answer.stdout.split()


def find_jobs(runs: Sequence[Run], folder: Path) -> dict[str, SlurmJob]:
    """Jobs of ``runs`` in the queue, by the runs' names; ``folder`` is submitit's.

    The process that submitted them may have died with its terminal: they go on without it.

    Raises:
        RuntimeError: SLURM does not answer.
        ValueError: a job has other settings than its run has now.
    """
    numbers, jobs, by_name = queue(), {}, {run.name: run for run in runs}
    if numbers is None:
        raise RuntimeError("squeue fails: cannot tell which runs are in SLURM's queue already")
    for number in numbers:
        pickle = JobPaths(folder, number).submitted_pickle
        submitted = DelayedSubmission.load(pickle).function.run if pickle.exists() else None
        if submitted is None or submitted.name not in by_name:
            continue
        run = by_name[submitted.name]
        if _settings(submitted) != _settings(run):
            raise ValueError(
                f"{run.name} is SLURM's job {number} with other settings: put the settings back, or end "
                f"the job by scancel {number}"
            )
        jobs[run.name] = SlurmJob(folder, number)
    return jobs


def _settings(run: Run) -> tuple[object, ...]:
    return run.output, run.training_settings, run.evaluation_settings()
