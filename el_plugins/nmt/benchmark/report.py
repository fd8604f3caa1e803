"""Write the reports, with verdicts, differences, their significance and all data, as Markdown and HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from el_plugins.nmt.benchmark import figures, tables, wording
from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.sections import Section
from el_plugins.nmt.benchmark.sentences import changed
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


def write(results: Results, sections: Sequence[Section], plots: Mapping[str, Path], folder: Path) -> None:
    """Write ``report.md``, which links the files ``plots``, and ``report.html``, which embeds them.

    Args:
        sections: of ``results``, the headline first.
        plots: SVG files in ``folder`` by name, see :data:`~el_plugins.nmt.benchmark.figures.TITLES`.
    """
    headline = sections[0]
    folded = [
        {
            "heading": wording.heading(section),
            "tables": {
                "Mean and standard deviation over seeds": tables.scores(section),
                "Against the baseline, paired by seed": tables.differences(section),
                "Single seeds": tables.seeds(section),
                "Tests over sentences": tables.sentence_tests(section),
            },
        }
        for section in sections
    ]
    context = {
        "name": results.name,
        "baseline": headline.baseline,
        "verdicts": wording.verdicts(headline),
        "averages": wording.averages(results),
        "headline": tables.headline(headline),
        "diverged": {name: wording.diverged(steps) for name, steps in results.diverged.items() if steps},
        "failed": results.failed,
        "cost": tables.cost(results),
        "validation": tables.validation(results),
        "convergence": tables.convergence(results),
        "titles": figures.TITLES,
        "plots": {name: path.relative_to(folder).as_posix() for name, path in plots.items()},
        "pictures": {
            name: base64.b64encode(path.read_bytes()).decode("ascii") for name, path in plots.items()
        },
        "changed": changed(results, headline),
        "caveats": CAVEATS.strip(),
        "sections": folded,
        "settings": tables.settings(results, headline),
        "commands": results.outputs("commands"),
    }
    for file in ("report.md", "report.html"):
        text = TEMPLATES.get_template(f"{file}.jinja").render(context)
        # Omitted parts leave blank lines.
        write_text(folder / file, re.sub(r"\n{3,}", "\n\n", text))
