"""What ``el-nmt-benchmark`` does once its arguments are read."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from el_plugins.nmt.benchmark import report, tables, wording
from el_plugins.nmt.benchmark.check import check
from el_plugins.nmt.benchmark.corpus import prepare
from el_plugins.nmt.benchmark.evaluation import generate_command
from el_plugins.nmt.benchmark.figures import draw
from el_plugins.nmt.benchmark.launch import Machines, find_machines, match_batch
from el_plugins.nmt.benchmark.machines import Leader, follow
from el_plugins.nmt.benchmark.results import read_runs
from el_plugins.nmt.benchmark.runs import Run, all_runs
from el_plugins.nmt.benchmark.schedule import Schedule
from el_plugins.nmt.benchmark.sections import make_sections
from el_plugins.nmt.benchmark.settings import Benchmark, read_whole, select
from el_plugins.nmt.benchmark.training import command
from el_plugins.utils.files import write_json_lines
from el_plugins.utils.runs import announce
from el_plugins.utils.tables import aligned

ONE_SEED = (
    "One seed: the paired tests in the report tell whether these very models differ on this test set, not "
    "whether the losses do. Another seed may well reverse the difference: add seeds and start it again."
)


def write_results(benchmark: Benchmark, runs: Sequence[Run], failed: dict[str, str], output: Path) -> None:
    """Write ``results.jsonl``, ``report.md`` with its figures, and ``report.html``; print the main table."""
    results = read_runs(benchmark, runs, failed)
    write_json_lines(output / "results.jsonl", results.rows)
    sections = make_sections(results)
    plots = draw(results, sections, output / "figures")
    report.write(results, sections, plots, output)
    headline = sections[0]
    print(f"\n{wording.heading(headline)}\n{aligned(tables.scores(headline))}")
    for title, lines in (("validation", tables.validation(results)), ("training", tables.cost(results))):
        if len(lines) > 1:
            print(f"\n{title}\n{aligned(lines)}")
    print()
    for system, verdict, why in wording.verdicts(headline):
        print(f"{system}: {verdict}. {why}.")
    for note in wording.averages(results):
        print(f"{note}.")
    print(f"\nwrote {output / 'report.html'}, report.md and results.jsonl")
    if len({row["seed"] for row in results.rows}) == 1 and len(headline.systems) > 1:
        print(ONE_SEED)


def reported(runs: Sequence[Run], benchmark: Benchmark) -> list[Run]:
    """``runs``, and the complete ones of ``benchmark`` beside them; those of other settings are named."""
    chosen, every = {run.name for run in runs}, all_runs(benchmark, runs[0].output)
    return [run for run in every if run.name in chosen or _is_up_to_date(run)]


def _is_up_to_date(run: Run) -> bool:
    """Whether a run that is not executed is complete, and of the settings at hand."""
    if not run.result.exists():
        return False
    try:
        run.check()
        reason = "it was scored with other settings" if run.is_outdated() else None
    except ValueError as error:
        reason = str(error)
    if reason:
        print(f"{run.name} is left out of the report: {reason}")
    return reason is None


def print_commands(runs: Sequence[Run], machines: Machines, folder: Path) -> None:
    """Print the commands of all runs on this machine, and the one that prepares a missing corpus."""
    data = runs[0].benchmark.data
    if machines.rank == 0 and data.prepare and not Path(data.folder).exists():
        print(f"cd {shlex.quote(str(folder))} && {data.prepare}")
    for run in runs:
        print(shlex.join(command(run, machines)))
        if machines.rank == 0:
            for model in (run.checkpoints / "checkpoint_best.pt", run.averaged):
                for subset in data.references:
                    print(shlex.join(generate_command(run, model, subset, None)))


@contextlib.contextmanager
def leading(machines: Machines) -> Iterator[Leader | None]:
    """The first machine's :class:`Leader` if there are several."""
    if machines.count == 1:
        yield None
    else:
        with Leader(machines) as leader:
            yield leader


def run_benchmark(options: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        RuntimeError: a run, a command or another machine failed.
        ValueError: a setting or file is wrong.
    """
    launch = {name: value for name in ("processes", "nodes") if (value := getattr(options, name)) is not None}
    whole = read_whole(
        options.settings,
        output=options.output,
        seeds=options.seeds,
        launch=launch,
        arguments=options.arguments,
    )
    match_batch(whole, options.any_batch)
    benchmark = select(whole, options.systems, options.seeds)
    output, folder = Path(str(benchmark.output)).resolve(), options.settings.resolve().parent
    machines = find_machines(benchmark.launch) if options.cluster == "local" else Machines()
    runs = all_runs(benchmark, output)
    if options.dry_run:
        print_commands(runs, machines, folder)
    elif options.check:
        prepare(benchmark.data, folder)
        check(runs)
        print(f"{options.settings}: all checks passed")
    elif machines.rank > 0:
        follow(runs, machines)
    else:
        with leading(machines) as leader:
            prepare(benchmark.data, folder)
            for run in runs:
                run.check()
            outdated = [run for run in runs if run.is_outdated()]
            if outdated or not all(run.result.exists() for run in runs):
                check(runs)  # before anything is deleted or trained
            for run in outdated:
                run.result.unlink()
            announce(runs)
            failed = {}
            if not all(run.result.exists() for run in runs):
                schedule = Schedule(
                    options.cluster,
                    output / "jobs",
                    options.hours,
                    benchmark.cluster,
                    options.jobs,
                    benchmark.launch,
                    leader,
                )
                failed = schedule.execute(runs)
        if len(failed) < len(runs):
            write_results(whole, reported(runs, whole), failed, output)
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")
