"""The reports: who won, by how much, how sure, and everything needed to check it, as Markdown and HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from el_plugins.nmt.benchmark import tables
from el_plugins.nmt.benchmark.statistics import CAVEATS
from el_plugins.workflow.results import aligned, write_text

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=jinja2.select_autoescape(["html.jinja"]),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters["aligned"] = aligned


def write(summary: Mapping[str, Any], plots: Mapping[str, Path], folder: Path) -> None:
    """Write ``report.md``, which shows the files ``plots``, and ``report.html``, which holds them.

    Args:
        summary: what :func:`~el_plugins.nmt.benchmark.summary.summarise` gathered.
        plots: SVG files in ``folder`` by title.
    """
    baseline = summary["systems"][0]
    sections = [
        {
            "heading": tables.heading(section),
            "scores": tables.scores(section, tables.diverged(summary)),
            "differences": tables.differences(section),
        }
        for section in summary["sections"]
    ]
    context = {
        "name": summary["name"],
        "baseline": baseline,
        "verdicts": tables.verdicts(summary),
        "failed": summary["failed"],
        "sections": sections,
        "caveats": CAVEATS.strip(),
        "sentence_tests": tables.sentence_tests(summary),
        "training": tables.training(summary),
        "plots": {title: path.relative_to(folder) for title, path in plots.items()},
        "pictures": {
            title: base64.b64encode(path.read_bytes()).decode("ascii") for title, path in plots.items()
        },
        "changed": summary["changed"],
        "settings": tables.settings(summary),
        "signatures": tables.signatures(summary),
        "commands": summary["commands"],
    }
    for file in ("report.md", "report.html"):
        write_text(folder / file, TEMPLATES.get_template(f"{file}.jinja").render(context))
