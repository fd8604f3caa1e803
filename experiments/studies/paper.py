"""One page of the paper's tables on the paper's data: ``python -m experiments.studies.paper [--run]``.

Without ``--run`` nothing is trained: the page shows what is complete in the results' folder, and how far the
rest is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from el_plugins.utils.files import write_text
from el_plugins.utils.program import program, reason
from experiments.studies import report
from experiments.studies.settings import read_settings
from experiments.studies.study import run_study, stored_results, stored_source

RESULTS = Path("benchmarks/results/paper")
SETTINGS = Path("examples/studies")


class Source(NamedTuple):
    """Studies that one settings file serves, in the order of the paper's tables."""

    settings: str
    studies: tuple[str, ...]

    def path(self) -> Path:
        """The settings file."""
        return SETTINGS / f"{self.settings}.yaml"


SOURCES = (
    Source("mnist", ("mse", "calibration")),
    Source("cifar10_small", ("classification", "energy", "probe", "calibration")),
    Source("proteins", ("graphs",)),
    Source("nci1", ("graphs",)),
    Source("cifar10_long_tail", ("long_tail", "focal")),
    Source("fashion_mnist_long_tail", ("long_tail", "focal")),
    Source("mnist_ood", ("ood",)),
    Source("mnist_adversarial", ("adversarial",)),
)
HEAD = """# The paper's tables, repeated on the paper's data

Made by `python -m experiments.studies.paper`. Every claim stands beside the paper's figures and our
difference, with its 95 % interval over seeds and the p of a paired t-test, not corrected for the number of
claims. Each section says what differs from the paper's setting; accuracies of images are the last epoch's,
the paper's the best on the test set. A study is shown when all seeds of all its systems are there. CIFAR-10
may have been read from images re-encoded as JPEG; the section then says so."""
MISSING = """## Not complete

Data, settings and commands are there, what lacks is time: a run takes minutes on a CPU core, all of them
a day.
"""
TAIL = """## Elsewhere, and not repeated

- Translation (Figure 4, Tables 1, 8): Multi30k [from German](multi30k_de_en/report.md),
  [from French](multi30k_fr_en/report.md) and [from German without label
  smoothing](multi30k_de_en_unsmoothed/report.md), and [Tatoeba](tatoeba_de_en/report.md), by [a
  protocol](../protocol.md); IWSLT was not at hand, its recipes are.
- Detection (Table 10): [blood cells](bccd/report.md) in place of COCO, which needs GPUs.
- ImageNet (Figure 4, Tables 1, 4) and iNaturalist (Tables 3, 9): need GPUs: see `examples/studies`."""


def page(root: str, run: bool) -> str:
    """The page in Markdown; trains what is missing first, if told to."""
    sections, missing = [], []
    for source in SOURCES:
        for name in source.studies:
            study = import_module(f"experiments.studies.{name}").STUDY
            settings = read_settings(study.defaults, source.path(), [f"root={root}"])
            folder = RESULTS / source.settings / name
            if run:
                try:
                    run_study(study, settings, folder)
                except (OSError, RuntimeError) as error:  # data that cannot be downloaded stop no other study
                    print(f"{name}, {settings.data}: {reason(error)}", file=sys.stderr)
            results = stored_results(study, settings, folder)
            command = f"python -m experiments.studies {name} --settings {source.path()}"
            runs = len(study.systems) * len(settings.seeds)
            done = sum(map(len, results.values()))
            if done < runs:
                missing.append(f"- {study.title}, {settings.data}: {done} of {runs} runs. `{command}`")
                continue
            figures = f"{source.settings}_{name}"
            data = stored_source(settings, folder)
            section = report.section(study, figures, settings, results, RESULTS.with_suffix(".md"), data)
            sections.append(f"{section}\n\n`{command}`")
    if missing:
        sections.append("\n".join([MISSING, *missing]))
    return "\n\n".join([HEAD, *sections, TAIL]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m experiments.studies.paper``."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.paper", description=__doc__)
    parser.add_argument("--root", default="data", help="where data sets are, or are downloaded to")
    parser.add_argument("--run", action="store_true", help="train what is missing: a day on a core")
    options = parser.parse_args(arguments)
    with program("experiments.studies.paper", "stopped; start it again to resume"):
        write_text(RESULTS.with_suffix(".md"), page(options.root, options.run))
        print(f"wrote {RESULTS.with_suffix('.md')}")


if __name__ == "__main__":
    main()
