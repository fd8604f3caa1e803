"""Train, translate, score and compare systems over seeds, as one YAML file says: ``el-nmt-benchmark``.

Started again after whatever stopped it, it does only what is missing. A system or a seed more in the file
adds runs; a setting that changes finished runs is refused, so that results never mix.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt.benchmark import report, tables, wording
from el_plugins.nmt.benchmark.figures import draw
from el_plugins.nmt.benchmark.results import read_runs
from el_plugins.nmt.benchmark.runs import Run, read_result
from el_plugins.nmt.benchmark.schedule import Schedule
from el_plugins.nmt.benchmark.settings import Benchmark, read_settings
from el_plugins.nmt.benchmark.summary import summarise
from el_plugins.utils.divergence import DIVERGED, describe
from el_plugins.utils.files import write_json_lines
from el_plugins.utils.tables import aligned

ONE_SEED = (
    "One seed tells whether these very models differ on this test set: see the paired tests in the report. "
    "It cannot tell the losses apart, for with another seed the difference may well turn round. For that add "
    "seeds to the file and start it again."
)


def prepare(benchmark: Benchmark, folder: Path) -> None:
    """Make the corpus with its own command, run in ``folder``, unless it is there.

    Raises:
        ValueError: a file is missing that no command makes.
        RuntimeError: the command failed.
    """
    data = benchmark.data
    if not Path(data.folder).exists() and data.prepare:
        print(f"preparing {data.folder}: {data.prepare}")
        # The command is the user's own, of his own settings file.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PATH": path}
        if subprocess.run(data.prepare, shell=True, cwd=folder, env=environment, check=False).returncode:
            raise RuntimeError(f"the command that prepares the corpus failed: {data.prepare}")
    for path in (data.folder, *data.references.values()):
        if not Path(path).exists():
            raise ValueError(f"{path} does not exist, and no command of data.prepare makes it")


def write_results(benchmark: Benchmark, runs: Sequence[Run], failed: dict[str, str], output: Path) -> None:
    """Write ``results.jsonl``, ``report.md`` with its figures, and ``report.html``; print the main table."""
    results = read_runs(benchmark, runs, failed)
    write_json_lines(output / "results.jsonl", results.rows)
    summary = summarise(results)
    report.write(summary, draw(summary, output / "figures"), output)
    first = summary["sections"][0]
    print(f"\n{wording.heading(first)}\n{aligned(tables.scores(summary, first))}")
    for title, lines in (("validation", tables.validation(summary)), ("training", tables.cost(summary))):
        if len(lines) > 1:
            print(f"\n{title}\n{aligned(lines)}")
    print()
    for system, verdict, why in wording.verdicts(summary):
        print(f"{system}: {verdict}. {why}.")
    print(f"\nwrote {output / 'report.html'}, report.md and results.jsonl")
    if len(benchmark.seeds) == 1 and len(benchmark.systems) > 1:
        print(ONE_SEED)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="el-nmt-benchmark", description=__doc__)
    parser.add_argument("settings", type=Path, help="YAML file: see examples/demo.yaml")
    parser.add_argument(
        "--output", type=Path, help="where everything goes (default: outputs/NAME of the file)"
    )
    parser.add_argument(
        "--cluster",
        choices=["local", "slurm"],
        default="local",
        help="local: one run on each GPU of this machine at a time, or one on the CPU; slurm: all as jobs "
        "of SLURM, with what the file's cluster section says (default: %(default)s)",
    )
    parser.add_argument(
        "--hours",
        type=float,
        default=24.0,
        help="time limit of a job of SLURM, which then goes on in another (default: 24)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="runs at once on a machine without a GPU, each with its share of the cores (default: 1)",
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")
    if options.hours <= 0:
        parser.error(f"--hours must be above 0, got {options.hours:g}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-nmt-benchmark``."""
    options = parse_arguments(arguments)
    output = (options.output or Path("outputs") / options.settings.stem).resolve()
    # `kill` ends the jobs, too, by SIGINT: a shell may have started us with that ignored, which jobs inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        benchmark = read_settings(options.settings)
        prepare(benchmark, options.settings.resolve().parent)
        runs = [
            Run(benchmark, system, seed, output) for seed in benchmark.seeds for system in benchmark.systems
        ]
        for run in runs:
            run.check()
        missing = [run for run in runs if not run.result.exists()]
        print(f"{len(runs)} runs in {output}, {len(runs) - len(missing)} of them done before")
        for run in runs:
            if run not in missing and DIVERGED in (record := read_result(run.result)):
                print(f"{run.name} {describe(record)} before; to try it again, delete {run.folder}")
        schedule = Schedule(options.cluster, output / "jobs", options.hours, benchmark.cluster, options.jobs)
        failed = schedule.execute(runs) if missing else {}
        write_results(benchmark, runs, failed, output)
    except KeyboardInterrupt:
        raise SystemExit("\nel-nmt-benchmark: stopped; start it again to go on") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"el-nmt-benchmark: {error}") from error
    if failed:
        raise SystemExit(f"el-nmt-benchmark: {len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
