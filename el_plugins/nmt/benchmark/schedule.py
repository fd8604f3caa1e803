"""Running the benchmark's runs as submitit's jobs, on this machine or on a SLURM cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
import torch

from el_plugins.nmt.benchmark.progress import Progress
from el_plugins.nmt.benchmark.runs import Run

POLL = 1.0  # seconds
LOG_LINES = 15


class Schedule:
    """Runs what is missing, as many runs at once as there is room for, and never stops for a failure.

    Args:
        cluster: ``"local"``, one run on each GPU of this machine (one on the CPU if there is none), or
            ``"slurm"``, all handed to SLURM, which queues them.
        folder: where submitit keeps its logs.
        hours: time limit of a job; one that reaches it goes on in a new job.
        parameters: submitit's own, such as ``slurm_partition``.
    """

    def __init__(self, cluster: str, folder: Path, hours: float, parameters: Mapping[str, Any]):
        # A job stopped by its time limit starts again as often as it must: every time it gets further.
        self.executor = submitit.AutoExecutor(folder, cluster=cluster, **{f"{cluster}_max_num_timeout": 1000})
        self.executor.update_parameters(timeout_min=round(60 * hours), name="el-nmt-benchmark")
        if cluster == "slurm":
            self.executor.update_parameters(slurm_additional_parameters={"requeue": True})
        self.executor.update_parameters(**parameters)
        gpus = list(range(torch.cuda.device_count()))
        self.free: list[int | None] | None = None if cluster == "slurm" else [*gpus] or [None]

    def submit(self, run: Run) -> tuple[submitit.Job, int | None]:
        """Start ``run`` on the first free GPU; (its job, the GPU)."""
        gpu = self.free.pop(0) if self.free is not None else None
        if gpu is not None:
            self.executor.update_parameters(gpus_per_node=1, local_visible_gpus=[gpu])
        return self.executor.submit(run), gpu

    def execute(self, runs: Sequence[Run]) -> dict[str, str]:
        """Run all of ``runs``.

        Returns:
            Why, by name, for those that failed: the error and the end of the log.
        """
        waiting = list(runs)
        active: dict[str, tuple[Run, submitit.Job, int | None]] = {}
        failed: dict[str, str] = {}
        with Progress(runs) as progress:
            try:
                while waiting or active:
                    while waiting and (self.free is None or self.free):
                        run = waiting.pop(0)
                        active[run.name] = (run, *self.submit(run))
                    for name, (run, job, gpu) in list(active.items()):
                        if not job.done():
                            continue
                        del active[name]
                        if self.free is not None:
                            self.free.append(gpu)
                        if not run.result.exists():
                            failed[name] = reason(run, job)
                            progress.say(f"{name} failed: {failed[name]}")
                    progress.show([run for run, _, _ in active.values()], len(failed))
                    time.sleep(POLL)
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
    return "\n".join([f"job {job.job_id} ended, state {job.state}; its log ends:", *lines[-LOG_LINES:]])
