"""Write the reports, with verdicts, differences, their significance and all data, as Markdown and HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from el_plugins.nmt.benchmark import figures, tables, wording
from el_plugins.nmt.benchmark.statistics import CAVEATS
from el_plugins.utils.files import write_text
from el_plugins.utils.tables import aligned

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=jinja2.select_autoescape(["html.jinja"]),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters["aligned"] = aligned


def write(summary: Mapping[str, Any], plots: Mapping[str, Path], folder: Path) -> None:
    """Write ``report.md``, which links the files ``plots``, and ``report.html``, which embeds them.

    Args:
        summary: of :func:`~el_plugins.nmt.benchmark.summary.summarise`.
        plots: SVG files in ``folder`` by name, see :data:`~el_plugins.nmt.benchmark.figures.TITLES`.
    """
    sections = [
        {
            "heading": wording.heading(section),
            "tables": {
                "Mean and standard deviation over seeds": tables.scores(summary, section),
                "Against the baseline, paired by seed": tables.differences(summary, section),
                "Single seeds": tables.seeds(summary, section),
                "Tests over sentences": tables.sentence_tests(summary, section),
            },
        }
        for section in summary["sections"]
    ]
    context = {
        "name": summary["name"],
        "baseline": summary["systems"][0],
        "verdicts": wording.verdicts(summary),
        "headline": tables.headline(summary),
        "diverged": {name: wording.diverged(steps) for name, steps in summary["diverged"].items() if steps},
        "failed": summary["failed"],
        "cost": tables.cost(summary),
        "validation": tables.validation(summary),
        "titles": figures.TITLES,
        "plots": {name: path.relative_to(folder).as_posix() for name, path in plots.items()},
        "pictures": {
            name: base64.b64encode(path.read_bytes()).decode("ascii") for name, path in plots.items()
        },
        "changed": summary["changed"],
        "caveats": CAVEATS.strip(),
        "sections": sections,
        "settings": tables.settings(summary),
        "commands": summary["commands"],
    }
    for file in ("report.md", "report.html"):
        text = TEMPLATES.get_template(f"{file}.jinja").render(context)
        # Omitted parts leave blank lines.
        write_text(folder / file, re.sub(r"\n{3,}", "\n\n", text))
