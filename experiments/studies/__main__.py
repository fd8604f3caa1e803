"""Repeat the paper's studies: ``python -m experiments.studies NAME [NAME ...] [KEY=VALUE ...]``.

Every system is trained with the same seeds and budget, and every result is stored: started again, a study
does only what is missing. Real data: --settings examples/studies/cifar10.yaml. Several GPUs: torchrun
--nproc_per_node 4 -m experiments.studies NAME.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch
from accelerate import PartialState

from el_plugins.utils.program import program, reason
from experiments.studies import report
from experiments.studies.settings import read_settings
from experiments.studies.study import run_study

NAMES = (
    "classification",
    "mse",
    "long_tail",
    "focal",
    "probe",
    "energy",
    "ood",
    "adversarial",
    "calibration",
    "large_margin",
    "graphs",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m experiments.studies``."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or some of {', '.join(NAMES)}")
    parser.add_argument("--settings", type=Path, help="YAML file: data, model, epochs, lr, seeds, ...")
    parser.add_argument(
        "--output", type=Path, help="default: outputs/studies, in it a folder of the settings file's name"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.md",
        help="default: OUTPUT/report_NAMES.md, with all studies named",
    )
    options = parser.parse_intermixed_args(arguments)
    given = [word for word in options.names if "=" in word]
    names = [word for word in options.names if "=" not in word]
    output = options.output or Path("outputs/studies", options.settings.stem if options.settings else "")
    page = options.report or output / f"report_{'_'.join(names)}.md"
    for name in set(names) - {*NAMES, "all"}:
        parser.error(f"NAME must be all or of {', '.join(NAMES)}, got {name!r}")
    sections, measures, failed = {}, {}, []
    # Without a GPU, accelerate joins several processes only if told to use the CPU.
    process = PartialState(cpu=not torch.cuda.is_available())
    with program("experiments.studies", "stopped; start it again to resume"):
        for name in NAMES if "all" in names else names:
            study = import_module(f"experiments.studies.{name}").STUDY
            try:
                settings = read_settings(study.defaults, options.settings, given)
                results = run_study(study, settings, output / name)
            except (OSError, RuntimeError, ValueError) as error:
                if process.num_processes > 1:
                    raise  # the other processes are still in this study: torchrun ends them
                failed.append(f"{name}: {reason(error)}")
                continue
            if process.is_main_process:
                sections[name] = report.section(study, name, settings, results, page)
                measures[name] = report.numbers(results)
                print(f"\n{sections[name]}\n")
        if process.is_main_process and sections:
            # Where data are is not a setting of the results.
            root = [word for word in given if word.startswith("root=")]
            words = [word for word in options.names if word not in root]
            words += ["--settings", str(options.settings)] if options.settings else []
            report.write_page(sections, measures, page, f"python -m experiments.studies {' '.join(words)}")
            print(f"wrote {page}")
    if failed:
        raise SystemExit("\n".join(f"experiments.studies: {line}" for line in failed))


if __name__ == "__main__":
    main()
