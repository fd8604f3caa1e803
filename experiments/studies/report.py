"""A study's table, verdicts and figures as Markdown, and all studies' in one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from el_plugins.utils.divergence import DIVERGED, MARK, diverged_at
from el_plugins.utils.files import atomic_file, write_json, write_text
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import aligned
from experiments.studies.data import source
from experiments.studies.settings import Settings
from experiments.studies.study import SECONDS, Results, Study, diverged

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "experiments.studies", "axes.grid": True, "grid.alpha": 0.3}
OVERLAP = "Every seed draws its halves from the same digits, so the intervals are too narrow."


def scores(study: Study, results: Results) -> str:
    """Mean and standard deviation over seeds: systems in rows, or in columns if the measures are more.

    A system of which a seed diverged has no mean: the other seeds' would hide it.
    """
    lines = [["system", *study.measures]]
    for name, by_seed in results.items():
        cells = []
        for measure, style in study.measures.items():
            if diverged(by_seed):
                cells.append(MARK)
                continue
            values = [measured[measure] for measured in by_seed.values()]
            if None in values:
                cells.append("-")
                continue
            mean, deviation = mean_std(values)
            cells.append(style.format(mean) + ("" if deviation is None else f" ± {style.format(deviation)}"))
        lines.append([name, *cells])
    return aligned(lines if len(lines) >= len(lines[0]) else list(zip(*lines)))


def divergences(results: Results) -> str:
    """Which runs diverged and when, one line per system; empty if none did."""
    runs = {
        name: [f"seed {s} {diverged_at(r[DIVERGED])}" for s, r in diverged(each).items()]
        for name, each in results.items()
    }
    return "\n".join(f"- {name}: {'; '.join(lines)}" for name, lines in runs.items() if lines)


def verdicts(study: Study, settings: Settings, results: Results) -> str:
    """One row per claim: what the paper says, our difference, and whether the direction is the same."""
    lines = [["claim", "paper", "ours", "verdict"]]
    for claim in study.claims:
        if claim.data in ("", settings.data):
            verdict, ours = claim.verdict(results)
            lines.append([claim.text(), claim.paper, ours, verdict])
    return aligned(lines)


def draw(study: Study, name: str, results: Results, folder: Path) -> list[Path]:
    """Write the study's figures as SVG into ``folder``; what diverged is crossed out in their legends."""
    finished = {name: by_seed for name, by_seed in results.items() if not diverged(by_seed)}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with plt.rc_context(STYLE):
        for figure_name, plot in study.figures.items():
            figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
            if finished:
                plot(axes, finished)
            for system in results.keys() - finished.keys():
                axes.plot([], [], "x", color="black", label=f"{system}: {DIVERGED}")
            if len(finished) < len(results):
                axes.legend(fontsize="small")
            path = folder / f"{name}_{figure_name}.svg"
            with atomic_file(path) as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
            plt.close(figure)
            paths.append(path)
    return paths


def section(
    study: Study, name: str, settings: Settings, results: Results, page: Path, data: str | None = None
) -> str:
    """A study in Markdown, for ``page``; its figures go to the folder of the page's name.

    ``data`` names what the results were made from, by default what is at hand.
    """
    figures = draw(study, name, results, page.with_suffix(""))
    seconds = sum(measured[SECONDS] for by_seed in results.values() for measured in by_seed.values())
    count = "1 seed" if len(settings.seeds) == 1 else f"{len(settings.seeds)} seeds"
    setting = f"{data or source(settings)}, {settings.model}, {settings.epochs} epochs, {count}"
    setting += f", {seconds / 60:.1f} minutes in all"
    at_hand = settings.data == study.defaults.get("data", Settings.data)
    overlap = OVERLAP if settings.data == "digits" else ""
    notes = [settings.note, study.note, study.note_at_hand if at_hand else "", overlap]
    lines = [
        f"## {study.title} ({settings.data})",
        " ".join([f"{study.paper}. Here: {setting}.", *filter(None, notes)]),
    ]
    lines += [
        scores(study, results),
        *filter(None, [divergences(results)]),
        verdicts(study, settings, results),
    ]
    lines += [f"![{path.stem.replace('_', ' ')}]({path.parent.name}/{path.name})" for path in figures]
    return "\n\n".join(lines)


def write_page(
    sections: Mapping[str, str], measures: Mapping[str, Results], page: Path, command: str
) -> None:
    """All sections on one page, with the command that made it; every seed's measures as JSON beside it."""
    head = (
        "# The paper's studies, repeated\n\n"
        f"Made by `{command}`. Where data, models or budgets are not the paper's, only directions compare. "
        "Values are means and standard deviations over seeds, differences have a 95 % interval over seeds; p "
        "is a paired t-test's over the same seeds, not corrected for the number of claims."
    )
    write_json(page.with_suffix(".json"), measures)
    write_text(page, "\n\n".join([head, *sections.values()]) + "\n")


def numbers(results: Results) -> Results:
    """What of ``results`` is a number (or None), without what only the figures need."""
    return {
        name: {
            seed: {
                measure: value
                for measure, value in measured.items()
                if isinstance(value, (int, float, type(None))) and measure != SECONDS
            }
            for seed, measured in by_seed.items()
        }
        for name, by_seed in results.items()
    }
