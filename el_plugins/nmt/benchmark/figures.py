"""The benchmark's plots as SVG: differences, learning curves, margins, energies, BLEU by length."""

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
# Later systems are thinner and dashed, so that coinciding lines all stay visible.
WIDTHS = (4.0, 2.6, 1.6, 1.0)
DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def draw(summary: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write every plot that has data into ``folder``; returns files by plot name."""
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
    """Draw a legend below the plot, where it covers nothing."""
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=3)


def curve(axes: Any, summary: Mapping[str, Any], figure: str, label: str) -> bool:
    """A validation figure over updates: the mean over a system's seeds, with their range as a band."""
    points: dict[str, list[tuple[list[int], list[float]]]] = {}
    for run, by_update in summary["curves"].items():
        values_of = {int(u): float(values[figure]) for u, values in by_update.items() if figure in values}
        finite = {u: values_of[u] for u in sorted(values_of) if np.isfinite(values_of[u])}
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
    """Distribution over the validation set's target tokens, with all seeds of a system pooled."""
    values: dict[str, list[np.ndarray]] = {}
    for name, tokens in summary["tokens"].items():
        values.setdefault(name.rpartition("/seed")[0], []).append(tokens[measure])
    if not values:
        return False
    pooled = np.concatenate([one for each in values.values() for one in each])
    bins = np.histogram_bin_edges(pooled, bins=60, range=tuple(np.quantile(pooled, [0.001, 0.999])))
    for name, each in values.items():
        heights, edges = np.histogram(np.concatenate(each), bins=bins, density=True)
        axes.stairs(heights, edges, label=name, **line(summary, name))
    axes.set(xlabel=f"{measure} of the target token's logit", ylabel="density")
    legend(axes)
    return True


def lengths(axes: Any, summary: Mapping[str, Any]) -> bool:
    """Bars of mean BLEU over seeds by length bucket."""
    systems = list(summary["lengths"])
    width = 0.8 / max(1, len(systems))
    for number, name in enumerate(systems):
        bleu = summary["lengths"][name]
        places = np.arange(len(bleu)) + (number - (len(systems) - 1) / 2) * width
        colour = line(summary, name)["color"]
        axes.bar(places, list(bleu.values()), 0.9 * width, label=name, color=colour)
        axes.set_xticks(range(len(bleu)), list(bleu))
    axes.set(xlabel="words of the reference", ylabel="BLEU, mean over seeds")
    if systems:
        legend(axes)
    return bool(systems)
