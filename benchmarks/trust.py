"""Run the adversaries and write what they tried and what withstood: ``python -m benchmarks.trust``.

Faults (killed at seeded moments, full disks), hostile input, properties drawn at random, long runs: they
are tests of the suite, most of them marked ``trust``. The table has a line for each file of tests. Started
again, it does only what is missing: delete outputs/trust to begin anew.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from el_plugins.utils.files import read_json, write_json, write_text
from el_plugins.utils.program import program
from el_plugins.utils.tables import aligned
from el_plugins.utils.versions import versions

REPORT = Path("benchmarks/results/trust.md")
DONE = Path("outputs/trust")
# What of the suite belongs here, by kind: files, and pytest's -k for those that have more in them.
KINDS: dict[str, list[tuple[str, list[str]]]] = {
    "faults": [
        ("tests/checkpoints/test_killed.py", []),
        ("tests/nmt/test_killed.py", []),
        ("tests/nmt/benchmark/test_killed.py", []),
        ("tests/detection/benchmark/test_main.py", ["-k", "killed"]),
        ("tests/experiments/detection/test_demo.py", []),
        ("tests/test_full_disk.py", []),
        ("tests/nmt/benchmark/test_full_disk.py", []),
        ("tests/utils/test_files.py", []),
        ("tests/utils/test_program.py", []),
    ],
    "hostile input": [
        ("tests/checkpoints/test_safe_loading.py", []),
        ("tests/utils/test_archives.py", []),
        ("tests/utils/test_downloads.py", []),
        ("tests/nmt/benchmark/test_report.py", ["-k", "html"]),
        ("tests/test_arguments.py", []),
    ],
    "properties": [
        ("tests/losses/test_properties.py", []),
        ("tests/losses/test_elementwise_properties.py", []),
        ("tests/fairseq_criterions/test_long_runs.py", []),
    ],
}
PACKAGES = ("torch", "fairseq", "ve-fairseq", "sal-detectron2", "numpy", "hypothesis")

NOTE = (
    "A try is a kill at a moment that a seed decides, a fault or an input. A test that hypothesis draws for "
    "(arguments, properties of the losses) counts once and has 500 inputs. What is skipped cannot be done on "
    "that machine."
)


def run(path: str, chosen: Sequence[str]) -> dict[str, Any]:
    """The figures of one file of tests, which pytest runs unless that is done; see :func:`counts`."""
    done = DONE / f"{path.removeprefix('tests/').replace('/', '.')}.json"
    if not done.exists():
        figures = {**_run(path, chosen), "date": str(datetime.date.today())}
        if figures["withstood"] < figures["tried"] or not figures["tried"]:
            return figures  # to be tried again
        done.parent.mkdir(parents=True, exist_ok=True)
        write_json(done, figures)
    return read_json(done)


def _run(path: str, chosen: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.xml")
        command = [sys.executable, "-m", "pytest", "-q", path, *chosen, "--junitxml", str(results)]
        environment = {**os.environ, "HYPOTHESIS_PROFILE": "trust"}
        subprocess.run(command, check=False, env=environment)
        if not results.exists():
            raise RuntimeError(f"pytest could not run {path}")
        return counts(ElementTree.parse(results).getroot())


def counts(suite: ElementTree.Element) -> dict[str, Any]:
    """The figures of pytest's XML: tried, withstood, skipped, seconds, notes.

    A test is one try, unless it says how many it made; all or none of these withstood.
    """
    figures: dict[str, Any] = {"tried": 0, "withstood": 0, "skipped": 0, "seconds": 0.0, "notes": []}
    for case in suite.iter("testcase"):
        properties = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        figures["seconds"] += float(case.get("time", 0))
        if case.find("skipped") is not None:
            figures["skipped"] += 1
            continue
        tried = int(properties.pop("tried", 1))
        figures["tried"] += tried
        figures["withstood"] += 0 if _failed(case) else tried
        figures["notes"] += [f"{name} {value}" for name, value in properties.items()]
        figures["notes"] += [f"failed: {case.get('name')}"] if _failed(case) else []
    return figures


def _failed(case: ElementTree.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None


def report(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The page in Markdown, from the figures of each file by kind."""
    lines = [["kind", "tests", "tried", "withstood", "skipped", "seconds", "date"]]
    notes = []
    for kind, files in results.items():
        for path, figures in files.items():
            row = [figures[name] for name in ("tried", "withstood", "skipped")]
            lines.append(
                [
                    kind,
                    path.removeprefix("tests/"),
                    *map(str, row),
                    f"{figures['seconds']:.0f}",
                    figures["date"],
                ]
            )
            notes += [f"- {path.removeprefix('tests/')}: {note}" for note in figures["notes"]]
    releases = ", ".join(f"{name} {release}" for name, release in versions(PACKAGES).items())
    machine = f"Python {platform.python_version()}, {releases}, {os.cpu_count()} cores"
    parts = [f"# Trust\n\n`make trust`: {machine}.", NOTE, aligned(lines), "\n".join(notes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", default=REPORT, help="default: %(default)s")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    options = parser.parse_args()
    with program("benchmarks.trust", "stopped; start it again to resume"):
        results = {kind: {path: run(path, chosen) for path, chosen in KINDS[kind]} for kind in options.kinds}
        write_text(options.report, report(results))
        print(f"wrote {options.report}")
        every = [figures for files in results.values() for figures in files.values()]
        if any(figures["withstood"] < figures["tried"] for figures in every):
            raise RuntimeError(f"not everything withstood, see {options.report}")


if __name__ == "__main__":
    main()
