"""Train, evaluate and compare detectors over seeds, as described by a YAML file: ``el-detection-benchmark``.

Started again after any interruption, it does only what is missing. New systems and seeds add runs; a change
of how finished runs were trained is refused, so that results never mix. Several machines train every run
together: start the same command on each, with --num-machines, --machine-rank and --master, on a shared
--output folder.
"""

from __future__ import annotations

import argparse
import math
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
from el_plugins.utils.program import program, reason
from el_plugins.utils.runs import announce


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="el-detection-benchmark", description=__doc__)
    parser.add_argument("settings", type=Path, help="YAML file: see examples/coco_retinanet.yaml")
    parser.add_argument("--output", type=Path, help="default: outputs/NAME of the file")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="only these, baseline first")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="in place of the file's")
    parser.add_argument("--options", default="", help="'KEY VALUE ...', after the file's")
    parser.add_argument("--num-gpus", type=int, help="of each machine (default: the file's gpus, else all)")
    parser.add_argument("--num-machines", type=int, default=1, help="that train together (default: 1)")
    parser.add_argument("--machine-rank", type=int, default=0, help="of this machine: 0 decides and writes")
    parser.add_argument(
        "--master", default="", metavar="HOST:PORT", help="of machine 0; trainings use the next port"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=120.0,
        metavar="MINUTES",
        help="time limit of waiting for the other machines (default: %(default)g)",
    )
    options = parser.parse_args(arguments)
    if options.num_machines < 1:
        parser.error(f"--num-machines must be 1 or more, got {options.num_machines}")
    if not 0 <= options.machine_rank < options.num_machines:
        parser.error(f"--machine-rank must be 0 to {options.num_machines - 1}, got {options.machine_rank}")
    if options.num_machines > 1 and not options.master.rpartition(":")[2].isdigit():
        parser.error(f"--master must be HOST:PORT of machine 0, got {options.master!r}")
    if not (math.isfinite(options.wait) and options.wait > 0):
        parser.error(f"--wait must be a finite number above 0, got {options.wait:g}")
    return options


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


def benchmark(options: argparse.Namespace, machines: Machines) -> None:
    """Plan, execute and report."""
    output = (options.output or Path("outputs") / options.settings.stem).resolve()
    runs = plan(read(options), options.settings, output, machines)
    announce(runs)
    failed = execute(runs, machines)
    if machines.rank == 0:
        summary.write(runs, failed, output)
    machines.leave()
    if failed:
        raise SystemExit(
            f"el-detection-benchmark: {len(failed)} of {len(runs)} runs failed: {', '.join(failed)}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-detection-benchmark``."""
    options = parse_arguments(arguments)
    with program("el-detection-benchmark", "stopped; start it again to resume"):
        read(options)  # mistakes in the file need no other machine
        machines = Machines(options.num_machines, options.machine_rank, options.master, options.wait)
        try:
            benchmark(options, machines)
        except (KeyboardInterrupt, OSError, RuntimeError, ValueError) as error:
            machines.stop(reason(error) or "it was interrupted")
            raise


if __name__ == "__main__":
    main()
