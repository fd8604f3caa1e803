"""The benchmark's plots as SVG: differences, learning curves, margins, energies, BLEU by length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from el_plugins.nmt.benchmark import colours
from el_plugins.nmt.benchmark.forest import forest
from el_plugins.nmt.benchmark.results import Results, by_update
from el_plugins.nmt.benchmark.sections import Section
from el_plugins.nmt.benchmark.sentences import lengths

SIZE = (4.8, 3.4)  # inches: narrow, so that the text stays readable on a phone
TITLES = {
    "differences": "BLEU against the baseline",
    "nll": "Validation nll",
    "well_classified": "Well-classified target tokens (p > 1/2) in validation",
    "margins": "Margins of target tokens (Figure 6)",
    "energies": "Energies of target tokens (Figure 5)",
    "lengths": "BLEU by length of the reference",
}
# Later systems are thinner and dashed, so that coinciding lines all stay visible.
WIDTHS = (4.0, 2.6, 1.6, 1.0)
DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def draw(results: Results, sections: Sequence[Section], folder: Path) -> dict[str, Path]:
    """Write every plot that has data into ``folder``; returns files by plot name."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[Any], bool]] = {
        "differences": lambda axes: forest(axes, sections),
        "nll": lambda axes: curve(axes, results, "valid_nll_loss", "nll (bits a token)"),
        "well_classified": lambda axes: curve(axes, results, "valid_well_classified", "share of tokens"),
        "margins": lambda axes: density(axes, results, "margin"),
        "energies": lambda axes: density(axes, results, "energy"),
        "lengths": lambda axes: bars(axes, results.systems, lengths(results, sections[0])),
    }
    drawn = {}
    with plt.rc_context(colours.STYLE):
        for name, plot in plots.items():
            figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
            if plot(axes):
                axes.set_title(TITLES[name])
                path = folder / f"{name}.svg"
                colours.save(figure, path)
                drawn[name] = path
            plt.close(figure)
    return drawn


def line(systems: Sequence[str], system: str) -> dict[str, Any]:
    """Colour, width and dashes of the line of one of ``systems``."""
    number = systems.index(system)
    return {
        "color": colours.series(number),
        "linewidth": WIDTHS[min(number, len(WIDTHS) - 1)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def legend(axes: Any) -> None:
    """Draw a legend below the plot, where it covers nothing."""
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=3)


def curve(axes: Any, results: Results, figure: str, label: str) -> bool:
    """A validation figure over updates: the mean over a system's seeds, with their range as a band."""
    points: dict[str, list[tuple[list[int], list[float]]]] = {}
    for run, validations in results.outputs("curve").items():
        finite = by_update(validations, figure)
        system, _, seed = run.rpartition("/seed")
        if finite and int(seed) in results.diverged[system]:
            axes.plot(
                [*finite],
                [*finite.values()],
                marker="x",
                markevery=[-1],
                color=line(results.systems, system)["color"],
            )
        elif finite:
            points.setdefault(system, []).append(([*finite], [*finite.values()]))
    for system, runs in points.items():
        # Seeds may have been validated at different updates.
        start, end = max(updates[0] for updates, _ in runs), min(updates[-1] for updates, _ in runs)
        grid = sorted({u for updates, _ in runs for u in updates if start <= u <= end})
        heights = np.array([np.interp(grid, updates, values) for updates, values in runs])
        axes.fill_between(
            grid,
            heights.min(axis=0),
            heights.max(axis=0),
            color=line(results.systems, system)["color"],
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(grid, heights.mean(axis=0), label=system, **line(results.systems, system))
    axes.set(xlabel="updates; the mean over seeds, and their range as a band", ylabel=label)
    if points:
        legend(axes)
    return bool(points)


def density(axes: Any, results: Results, measure: str) -> bool:
    """Distribution over the validation set's target tokens, with all seeds of a system pooled."""
    values: dict[str, list[np.ndarray]] = {}
    for name, tokens in results.outputs("tokens").items():
        values.setdefault(name.rpartition("/seed")[0], []).append(tokens[measure])
    if not values:
        return False
    pooled = np.concatenate([one for each in values.values() for one in each])
    bins = np.histogram_bin_edges(pooled, bins=60, range=tuple(np.quantile(pooled, [0.001, 0.999])))
    for name, each in values.items():
        heights, edges = np.histogram(np.concatenate(each), bins=bins, density=True)
        axes.stairs(heights, edges, label=name, **line(results.systems, name))
    axes.set(xlabel=f"{measure} of the target token's logit", ylabel="density")
    legend(axes)
    return True


def bars(axes: Any, systems: Sequence[str], bleu_of: Mapping[str, Mapping[str, float]]) -> bool:
    """Bars of mean BLEU over seeds by length bucket."""
    width = 0.8 / max(1, len(bleu_of))
    for number, (name, bleu) in enumerate(bleu_of.items()):
        places = np.arange(len(bleu)) + (number - (len(bleu_of) - 1) / 2) * width
        colour = line(systems, name)["color"]
        axes.bar(places, list(bleu.values()), 0.9 * width, label=name, color=colour)
        axes.set_xticks(range(len(bleu)), list(bleu))
    axes.set(xlabel="words of the reference", ylabel="BLEU, mean over seeds")
    if bleu_of:
        legend(axes)
    return bool(bleu_of)
