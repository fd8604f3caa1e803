"""Schedule the runs as submitit's jobs, on this machine or on a SLURM cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import submitit
import torch

from el_plugins.nmt.benchmark.job import Job
from el_plugins.nmt.benchmark.machines import Leader
from el_plugins.nmt.benchmark.progress import Progress
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.settings import Launch
from el_plugins.nmt.benchmark.slurm import find_jobs, queue

POLL = {"local": 1, "slurm": 10}  # seconds
LOG_LINES = 15
UNLIMITED = 365 * 24 * 60  # minutes; submitit requires a number


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


def gpu_groups(gpus: Sequence[int], size: int) -> list[list[int]]:
    """Disjoint groups of ``size`` GPUs.

    Raises:
        ValueError: there are fewer than ``size``.
    """
    if len(gpus) < size:
        raise ValueError(
            f"processes of launch must be at most the {len(gpus)} GPUs of this machine, got {size}"
        )
    return [list(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]


class Schedule:
    """Executes incomplete runs, as many at once as fit; a failed run does not stop the others.

    Args:
        cluster: ``"local"``, as many runs at once as this machine's GPUs allow (``jobs`` if it has none), or
            ``"slurm"``, which queues all of them that are not in its queue already.
        folder: of submitit's logs.
        hours: time limit of a SLURM job; one that reaches it is requeued and resumes.
        parameters: submitit's own, such as ``slurm_partition``.
        jobs: runs at once on the CPU, which share its threads.
        launch: processes and nodes of a run.
        leader: announces the runs to further machines that were started alike.

    Raises:
        ValueError: unknown parameters, or fewer GPUs than a run has processes.
    """

    def __init__(
        self,
        cluster: str,
        folder: Path,
        hours: float,
        parameters: Mapping[str, Any],
        jobs: int = 1,
        launch: Launch | None = None,
        leader: Leader | None = None,
    ):
        launch = launch or Launch()
        # A job that reaches its time limit is requeued without end: it makes progress each time.
        self.executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=1000)
        minutes = round(60 * hours) if cluster == "slurm" else UNLIMITED
        self.executor.update_parameters(timeout_min=minutes, name="el-nmt-benchmark")
        if cluster == "slurm":
            self.executor.update_parameters(nodes=launch.nodes, tasks_per_node=1)
        try:
            more = {"requeue": True, **parameters.get("slurm_additional_parameters", {})}
            self.executor.update_parameters(**{**parameters, "slurm_additional_parameters": more})
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise ValueError(f"cluster must hold submitit's parameters: {error}") from error
        self.free: list[list[int]] | None = None  # groups of GPUs, one for each run at once
        if cluster == "local":
            gpus = visible_gpus(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))
            self.free = gpu_groups(gpus, launch.processes) if gpus else [[] for _ in range(jobs)]
            if launch.nodes > 1:  # the machines train one run at a time
                self.free = self.free[:1]
        if jobs > 1:
            # Inherited by the jobs; by default each would start as many threads as there are cores.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // jobs)))
        self.cluster, self.leader = cluster, leader

    def submit(self, run: Run) -> tuple[submitit.Job, list[int]]:
        """Start ``run`` on the first free group of GPUs; (its job, the GPUs)."""
        gpus = self.free.pop(0) if self.free is not None else []
        if gpus:
            self.executor.update_parameters(gpus_per_node=len(gpus), local_visible_gpus=gpus)
        if self.leader and not run.trained.exists():
            self.leader.begin(run)
        with errors_to(self.executor.folder / "controllers.log"):
            return self.executor.submit(Job(run)), gpus

    def ended(self, jobs: Mapping[str, submitit.Job]) -> list[str]:
        """Names of the jobs that have finished or failed, without requeued ones."""
        if self.cluster == "local":
            return [name for name, job in jobs.items() if job.done()]
        numbers = queue()
        if numbers is None:  # ask again later
            return []
        return [name for name, job in jobs.items() if job.job_id not in numbers]

    def execute(self, runs: Sequence[Run]) -> dict[str, str]:
        """Run all of ``runs``.

        Returns:
            For the failed ones, by name: the error and the end of the log.

        Raises:
            RuntimeError: SLURM does not answer.
            ValueError: SLURM's queue has one of them with other settings.
        """
        waiting = [run for run in runs if not run.result.exists()]
        active: dict[str, tuple[Run, submitit.Job, list[int]]] = {}
        failed: dict[str, str] = {}
        if self.cluster == "slurm":
            found = find_jobs(waiting, self.executor.folder)
            active = {run.name: (run, found[run.name], []) for run in waiting if run.name in found}
            waiting = [run for run in waiting if run.name not in found]
            if found:
                print(f"in SLURM's queue already: {', '.join(found)}")
        with Progress(runs) as progress:
            try:
                while waiting or active:
                    while waiting and (self.free is None or self.free):
                        run = waiting.pop(0)
                        active[run.name] = (run, *self.submit(run))
                    progress.show([run for run, _, _ in active.values()], len(failed))
                    time.sleep(POLL[self.cluster])
                    for name in self.ended({name: job for name, (_, job, _) in active.items()}):
                        run, job, gpus = active.pop(name)
                        if self.free is not None:
                            self.free.append(gpus)
                        if self.leader:
                            self.leader.end()
                        if not run.result.exists():
                            failed[name] = reason(run, job)
                            progress.say(f"{name} failed: {failed[name]}")
                progress.show([], len(failed))
            except KeyboardInterrupt:
                for _, job, _ in active.values():
                    job.cancel()
                raise
        return failed


@contextmanager
def errors_to(log: Path) -> Iterator[None]:
    """Have what the block starts write its errors to ``log``.

    submitit's controllers, which Ctrl-C in a terminal reaches too, end with a traceback.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.dup(2)
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def reason(run: Run, job: submitit.Job) -> str:
    """Why ``run`` ended without a result: its error, or the end of its job's log."""
    if run.failure.exists():
        return run.failure.read_text(encoding="utf-8")
    # It was killed, for lack of memory for example, or could not start.
    lines = (job.stderr() or job.stdout() or "no log").splitlines()
    return "\n".join([f"job {job.job_id} ended without a result; its log ends:", *lines[-LOG_LINES:]])
