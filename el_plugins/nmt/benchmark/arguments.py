"""The command line of ``el-nmt-benchmark``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """\
Train, translate, score and compare systems over seeds, as described by a YAML file.

Started again after any interruption, it does only what is missing. A system or a seed more in the file adds
runs. A change of how finished runs were trained is refused, so that results never mix; after a change of how
they are translated or scored only that is done again.
"""
MACHINES = """\
Several machines: with `launch: {nodes: 2}` or --nodes 2, start the same command on each of them, with
NODE_RANK (from 0), MASTER_ADDR (of the first) and MASTER_PORT (default 29500, and the next one) in its
environment, or with srun, which sets SLURM's variables. --output must be on storage that all of them see.
With --cluster slurm, start it once: the jobs get their nodes from SLURM.
"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; ``arguments`` holds those of fairseq-train after ``--``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(
        prog="el-nmt-benchmark",
        usage="%(prog)s SETTINGS [options] [-- ARGUMENTS OF fairseq-train ...]",
        description=DESCRIPTION,
        epilog=MACHINES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("settings", type=Path, metavar="SETTINGS", help="YAML file: see examples/demo.yaml")
    parser.add_argument("--output", type=Path, help="output folder (default: the file's, or outputs/NAME)")
    parser.add_argument(
        "--systems",
        nargs="+",
        default=[],
        metavar="NAME",
        help="run only these of the file; the report has all that are complete",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        default=[],
        type=int,
        help="run these instead of the file's; the report has all that are complete",
    )
    parser.add_argument("--processes", type=int, help="of one run on each node, instead of the file's")
    parser.add_argument("--nodes", type=int, help="of one run, instead of the file's")
    parser.add_argument(
        "--any-batch", action="store_true", help="allow another number of tokens than tokens_per_update"
    )
    parser.add_argument(
        "--cluster",
        choices=["local", "slurm"],
        default="local",
        help="local: as many runs at once as this machine's GPUs allow, or one on the CPU; slurm: all as "
        "SLURM jobs, with the parameters of the file's cluster section (default: %(default)s)",
    )
    parser.add_argument(
        "--hours",
        type=float,
        default=24.0,
        help="time limit of a SLURM job, which is then requeued and resumes (default: 24)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="runs at once on a machine without a GPU; they share its cores (default: 1)",
    )
    parser.add_argument(
        "--check", action="store_true", help="check settings, arguments and corpus; train nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands instead of running them")
    options = parser.parse_args(given[:end])
    options.arguments = given[end + 1 :]
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")
    if not 0 < options.hours < math.inf:
        parser.error(f"--hours must be a number above 0, got {options.hours:g}")
    return options
