"""The benchmark's plots, as SVG: differences, learning curves, margins, energies, BLEU by length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from el_plugins.nmt.benchmark import colours
from el_plugins.nmt.benchmark.forest import forest

SIZE = (4.8, 3.4)  # inches: narrow, so that the text stays readable on a phone
TITLES = {
    "differences": "BLEU against the baseline",
    "nll": "Validation nll",
    "well_classified": "Well-classified target tokens (p > 1/2) in validation",
    "margins": "Margins of target tokens (Figure 6)",
    "energies": "Energies of target tokens (Figure 5)",
    "lengths": "BLEU by length of the reference",
}
# Earlier systems are drawn wider and later ones dashed above them, so that equal lines all show.
WIDTHS = (4.0, 2.6, 1.6, 1.0)
DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def draw(summary: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write every plot that there are figures for into ``folder``; files by the plots' names."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[Any, Mapping[str, Any]], bool]] = {
        "differences": forest,
        "nll": lambda axes, s: curve(axes, s, "valid_nll_loss", "nll (bits a token)"),
        "well_classified": lambda axes, s: curve(axes, s, "valid_well_classified", "share of tokens"),
        "margins": lambda axes, s: density(axes, s, "margin"),
        "energies": lambda axes, s: density(axes, s, "energy"),
        "lengths": lengths,
    }
    drawn = {}
    with plt.rc_context(colours.STYLE):
        for name, plot in plots.items():
            figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
            if plot(axes, summary):
                axes.set_title(TITLES[name])
                path = folder / f"{name}.svg"
                colours.save(figure, path)
                drawn[name] = path
            plt.close(figure)
    return drawn


def line(summary: Mapping[str, Any], system: str) -> dict[str, Any]:
    """Colour, width and dashes of a system's line."""
    number = summary["systems"].index(system)
    return {
        "color": colours.series(number),
        "linewidth": WIDTHS[min(number, len(WIDTHS) - 1)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def legend(axes: Any) -> None:
    """A legend below the plot, where it hides nothing."""
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=3)


def curve(axes: Any, summary: Mapping[str, Any], figure: str, label: str) -> bool:
    """A validation figure against updates: the mean over a system's seeds, and their range as a band."""
    points: dict[str, list[tuple[list[int], list[float]]]] = {}
    for run, by_update in summary["curves"].items():
        found = {int(u): float(values[figure]) for u, values in by_update.items() if figure in values}
        finite = {u: found[u] for u in sorted(found) if np.isfinite(found[u])}
        system, _, seed = run.rpartition("/seed")
        if finite and int(seed) in summary["diverged"][system]:
            axes.plot(
                [*finite],
                [*finite.values()],
                marker="x",
                markevery=[-1],
                color=line(summary, system)["color"],
            )
        elif finite:
            points.setdefault(system, []).append(([*finite], [*finite.values()]))
    for system, runs in points.items():
        # Seeds may have been validated at different updates.
        end = min(updates[-1] for updates, _ in runs)
        grid = sorted({u for updates, _ in runs for u in updates if runs[0][0][0] <= u <= end})
        heights = np.array([np.interp(grid, updates, values) for updates, values in runs])
        axes.fill_between(
            grid,
            heights.min(axis=0),
            heights.max(axis=0),
            color=line(summary, system)["color"],
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(grid, heights.mean(axis=0), label=system, **line(summary, system))
    axes.set(xlabel="updates; the mean over seeds, and their range as a band", ylabel=label)
    if points:
        legend(axes)
    return bool(points)


def density(axes: Any, summary: Mapping[str, Any], measure: str) -> bool:
    """Distribution over the validation set's target tokens, all seeds of a system together."""
    values: dict[str, list[np.ndarray]] = {}
    for name, tokens in summary["tokens"].items():
        values.setdefault(name.rpartition("/seed")[0], []).append(tokens[measure])
    if not values:
        return False
    whole = np.concatenate([one for each in values.values() for one in each])
    bins = np.histogram_bin_edges(whole, bins=60, range=tuple(np.quantile(whole, [0.001, 0.999])))
    for name, each in values.items():
        heights, edges = np.histogram(np.concatenate(each), bins=bins, density=True)
        axes.stairs(heights, edges, label=name, **line(summary, name))
    axes.set(xlabel=f"{measure} of the target token's logit", ylabel="density")
    legend(axes)
    return True


def lengths(axes: Any, summary: Mapping[str, Any]) -> bool:
    """Bars of BLEU, mean over seeds, by bucket."""
    systems = list(summary["lengths"])
    width = 0.8 / max(1, len(systems))
    for number, name in enumerate(systems):
        found = summary["lengths"][name]
        places = np.arange(len(found)) + (number - (len(systems) - 1) / 2) * width
        colour = line(summary, name)["color"]
        axes.bar(places, list(found.values()), 0.9 * width, label=name, color=colour)
        axes.set_xticks(range(len(found)), list(found))
    axes.set(xlabel="words of the reference", ylabel="BLEU, mean over seeds")
    if systems:
        legend(axes)
    return bool(systems)
