"""What ``el-detection-benchmark`` does once its arguments are read."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from el_plugins.detection.benchmark import summary
from el_plugins.detection.benchmark.data import fingerprint, prepare
from el_plugins.detection.benchmark.machines import Machines, check_same
from el_plugins.detection.benchmark.runs import Run
from el_plugins.detection.benchmark.settings import Benchmark, check, read_settings, select
from el_plugins.utils.files import write_text
from el_plugins.utils.program import reason
from el_plugins.utils.runs import announce


def read(options: argparse.Namespace) -> Benchmark:
    """The settings file, with the changes of the command line."""
    benchmark = read_settings(options.settings)
    if options.systems:
        benchmark.systems = select(benchmark, options.systems)
    benchmark.seeds = options.seeds or benchmark.seeds
    benchmark.options = f"{benchmark.options} {options.options}"
    benchmark.gpus = benchmark.gpus if options.num_gpus is None else options.num_gpus
    check(benchmark)
    return benchmark


def gpus_in_use(asked: int | None) -> int:
    """Number of this machine's GPUs that a run uses; 1 process without a GPU.

    Raises:
        ValueError: more are asked for than there are.
    """
    there = torch.cuda.device_count()
    if asked is not None and asked > max(there, 1):
        raise ValueError(f"gpus must be at most the {there} of this machine, got {asked}")
    if not there:
        print("no GPU: training on the CPU")
    return asked or max(there, 1)


def plan(benchmark: Benchmark, settings: Path, output: Path, machines: Machines) -> list[Run]:
    """All runs, checked: the data are there, the configs read, and all machines are about to do the same.

    Raises:
        RuntimeError, ValueError: something is missing or differs.
    """
    seen = output / "machines"
    if machines.rank == 0:
        prepare(benchmark, settings.resolve().parent)
        output.mkdir(parents=True, exist_ok=True)
        write_text(seen, secrets.token_hex())
    machines.meet("preparing the data")
    data = {"train data": fingerprint(benchmark.data.train), "test data": fingerprint(benchmark.data.test)}
    gpus = gpus_in_use(benchmark.gpus)
    # By seeds, so that every system has its first result early.
    runs = [
        Run(benchmark, system, seed, output, gpus, machines, data)
        for seed in benchmark.seeds
        for system in benchmark.systems
    ]
    if machines.rank == 0:
        for run in runs:
            run.check()
    own: dict[str, Any] = {
        "the order of systems and seeds": [run.name for run in runs],
        "the output folder": seen.read_text(encoding="utf-8") if seen.exists() else None,
        "GPUs": gpus,
        **{f"{key} of {run.name}": value for run in runs for key, value in run.training_settings.items()},
    }
    check_same(machines, own)
    return runs


def execute(runs: Sequence[Run], machines: Machines) -> dict[str, str]:
    """Complete ``runs``; the reasons, by name, of those that failed."""
    failed: dict[str, str] = {}
    for run in runs:
        try:
            run()
        except (OSError, RuntimeError, ValueError) as error:
            failed[run.name] = str(error)
            print(f"{run.name} failed: {error}")
        # A run that failed on one machine has failed.
        whys = machines.meet(f"{run.name} ended", failed.get(run.name))
        if run.name not in failed and any(whys) and not run.result.exists():
            failed[run.name] = next(filter(None, whys))
    return failed


def run_on(machines: Machines, benchmark: Benchmark, settings: Path, output: Path) -> None:
    """Plan, execute and report."""
    runs = plan(benchmark, settings, output, machines)
    announce(runs)
    failed = execute(runs, machines)
    if machines.rank == 0:
        summary.write(runs, failed, output)
    machines.leave()
    if failed:
        raise SystemExit(
            f"el-detection-benchmark: {len(failed)} of {len(runs)} runs failed: {', '.join(failed)}"
        )


def run_benchmark(options: argparse.Namespace) -> None:
    """Do what the command line asks for; other machines are told of what goes wrong on this one.

    Raises:
        RuntimeError: a run, a command or another machine failed.
        ValueError: a setting or file is wrong.
    """
    benchmark = read(options)  # before the machines meet: mistakes in the file need no other one
    output = (options.output or Path("outputs") / options.settings.stem).resolve()
    machines = Machines(options.num_machines, options.machine_rank, options.master, options.wait)
    try:
        run_on(machines, benchmark, options.settings, output)
    except (KeyboardInterrupt, OSError, RuntimeError, ValueError) as error:
        machines.stop(reason(error) or "it was interrupted")
        raise
