"""Running the benchmark's runs as submitit's jobs, on this machine or on a SLURM cluster."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
import torch

from el_plugins.nmt.benchmark.progress import Progress
from el_plugins.nmt.benchmark.runs import Run

POLL = {"local": 1, "slurm": 10}  # seconds
LOG_LINES = 15
UNLIMITED = 365 * 24 * 60  # minutes, for submitit wants a number


def visible_gpus(count: int, variable: str | None) -> list[int]:
    """Numbers of the ``count`` GPUs that CUDA_VISIBLE_DEVICES leaves to this process, as submitit wants them.

    Raises:
        ValueError: it names GPUs by something else.
    """
    if variable is None:
        return list(range(count))
    names = variable.split(",")[:count] if count else []
    if not all(name.strip().isdigit() for name in names):
        raise ValueError(
            f"CUDA_VISIBLE_DEVICES must name GPUs by numbers for --cluster local, got {variable!r}"
        )
    return [int(name) for name in names]


class Schedule:
    """Runs what is missing, as many runs at once as there is room for, and never stops for a failure.

    Args:
        cluster: ``"local"``, one run on each GPU of this machine (``jobs`` on the CPU if there is none), or
            ``"slurm"``, all handed to SLURM, which queues them.
        folder: where submitit keeps its logs.
        hours: time limit of a job of SLURM; one that reaches it goes on in a new job.
        parameters: submitit's own, such as ``slurm_partition``.
        jobs: runs at once on the CPU, which share its threads.
    """

    def __init__(
        self, cluster: str, folder: Path, hours: float, parameters: Mapping[str, Any], jobs: int = 1
    ):
        # A job stopped by its time limit starts again as often as it must: every time it gets further.
        self.executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=1000)
        minutes = round(60 * hours) if cluster == "slurm" else UNLIMITED
        self.executor.update_parameters(timeout_min=minutes, name="el-nmt-benchmark")
        more = {"requeue": True, **parameters.get("slurm_additional_parameters", {})}
        try:
            self.executor.update_parameters(**{**parameters, "slurm_additional_parameters": more})
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise ValueError(f"cluster must hold submitit's parameters: {error}") from error
        gpus = visible_gpus(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        self.free: list[int | None] | None = None if cluster == "slurm" else [*gpus] or [None] * jobs
        if jobs > 1:
            # The jobs inherit it. Unset, each would start as many threads as there are cores.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // jobs)))
        self.cluster = cluster

    def submit(self, run: Run) -> tuple[submitit.Job, int | None]:
        """Start ``run`` on the first free GPU; (its job, the GPU)."""
        gpu = self.free.pop(0) if self.free is not None else None
        if gpu is not None:
            self.executor.update_parameters(gpus_per_node=1, local_visible_gpus=[gpu])
        return self.executor.submit(run), gpu

    def ended(self, jobs: Mapping[str, submitit.Job]) -> list[str]:
        """Names of the jobs that are over, for good or ill; a requeued one is not."""
        if self.cluster == "local":
            return [name for name, job in jobs.items() if job.done()]
        # submitit asks sacct, which knows nothing where a cluster keeps no accounts; the queue always knows.
        queue = subprocess.run(
            ["squeue", "--noheader", "--me", "--format=%A"], capture_output=True, text=True, check=False
        )
        if queue.returncode:  # the controller does not answer now; it will
            return []
        return [name for name, job in jobs.items() if job.job_id not in queue.stdout.split()]

    def execute(self, runs: Sequence[Run]) -> dict[str, str]:
        """Run all of ``runs``.

        Returns:
            Why, by name, for those that failed: the error and the end of the log.
        """
        waiting = [run for run in runs if not run.result.exists()]
        active: dict[str, tuple[Run, submitit.Job, int | None]] = {}
        failed: dict[str, str] = {}
        with Progress(runs) as progress:
            try:
                while waiting or active:
                    while waiting and (self.free is None or self.free):
                        run = waiting.pop(0)
                        active[run.name] = (run, *self.submit(run))
                    progress.show([run for run, _, _ in active.values()], len(failed))
                    time.sleep(POLL[self.cluster])
                    for name in self.ended({name: job for name, (_, job, _) in active.items()}):
                        run, job, gpu = active.pop(name)
                        if self.free is not None:
                            self.free.append(gpu)
                        if not run.result.exists():
                            failed[name] = reason(run, job)
                            progress.say(f"{name} failed: {failed[name]}")
                progress.show([], len(failed))
            except KeyboardInterrupt:
                for _, job, _ in active.values():
                    job.cancel()
                raise
        return failed


def reason(run: Run, job: submitit.Job) -> str:
    """Why ``run`` ended without a result: its error, with the end of the log that it concerns."""
    if run.failure.exists():
        return run.failure.read_text(encoding="utf-8")
    # It had no time to say so itself: out of memory, killed, or it could not even start.
    lines = (job.stderr() or job.stdout() or "it left no log").splitlines()
    return "\n".join([f"job {job.job_id} ended without a result; its log ends:", *lines[-LOG_LINES:]])
