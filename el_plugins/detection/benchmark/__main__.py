"""Train, evaluate and compare detectors over seeds, as described by a YAML file: ``el-detection-benchmark``.

Started again after any interruption, it does only what is missing. New systems and seeds add runs; a change
of how finished runs were trained is refused, so that results never mix. Several machines train every run
together: start the same command on each, with --num-machines, --machine-rank and --master, on a shared
--output folder.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from el_plugins.utils.program import program


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-detection-benchmark``."""
    options = parse_arguments(arguments)
    with program("el-detection-benchmark", "stopped; start it again to resume", extra="detectron2"):
        # Takes seconds, which help and a wrong argument need not wait for.
        from el_plugins.detection.benchmark.driver import run_benchmark

        run_benchmark(options)


if __name__ == "__main__":
    main()
