"""The benchmark's plots, as SVG: scores, learning curves, margins, energies, BLEU by length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from el_plugins.workflow.divergence import DIVERGED

SIZE = (7, 4)
# Text stays text, and the same figures give the same file.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "el-nmt-benchmark", "axes.grid": True, "grid.alpha": 0.3}


def draw(summary: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write every plot that there are figures for into ``folder``; titles and files."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, tuple[str, Callable[[Any, Mapping[str, Any]], bool]]] = {
        "scores": ("BLEU of each seed and the mean", scores),
        "nll": ("Validation nll", lambda axes, s: curve(axes, s, "valid_nll_loss", "nll (bits a token)")),
        "well_classified": (
            "Well-classified target tokens (p > 1/2) in validation",
            lambda axes, s: curve(axes, s, "valid_well_classified", "share of tokens"),
        ),
        "margins": ("Margins of target tokens (Figure 6)", lambda axes, s: density(axes, s, "margin")),
        "energies": ("Energies of target tokens (Figure 5)", lambda axes, s: density(axes, s, "energy")),
        "lengths": ("BLEU by length of the reference", lengths),
    }
    drawn = {}
    with plt.rc_context(STYLE):
        for name, (title, plot) in plots.items():
            figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
            if plot(axes, summary):
                for row in summary["diverged"]:
                    label = f"{row['system']}, seed {row['seed']}: {DIVERGED}"
                    axes.plot([], [], "x", color="black", label=label)
                if summary["diverged"]:
                    axes.legend()
                axes.set_title(title)
                path = folder / f"{name}.svg"
                temporary = folder / f"{name}.tmp.svg"
                figure.savefig(temporary, metadata={"Date": None})
                temporary.replace(path)
                drawn[title] = path
            plt.close(figure)
    return drawn


def scores(axes: Any, summary: Mapping[str, Any]) -> bool:
    """A point a seed and a bar at the mean, averaged checkpoint, first test subset."""
    section = summary["sections"][0]
    place = (section["checkpoint"], section["subset"])
    for position, (name, figures) in enumerate(section["systems"].items()):
        values = [
            row["bleu"]["score"]
            for row in summary["rows"]
            if (row["checkpoint"], row["subset"]) == place and row["system"] == name
        ]
        axes.plot([position] * len(values), values, "o", alpha=0.6)
        axes.hlines(figures["bleu"]["mean"], position - 0.2, position + 0.2, color="black")
    axes.set_xticks(range(len(section["systems"])), list(section["systems"]))
    axes.set_ylabel(f"BLEU, {place[1]}, {place[0]} checkpoint")
    return True


def curve(axes: Any, summary: Mapping[str, Any], figure: str, label: str) -> bool:
    """A validation figure against updates, a line a run, a colour a system."""
    shown = False
    for name, points in summary["curves"].items():
        system = name.split("/")[0]
        updates = [u for u in sorted(points, key=int) if figure in points[u]]
        if updates:
            colour = f"C{summary['systems'].index(system)}"
            first = name == next(n for n in summary["curves"] if n.startswith(f"{system}/"))
            heights = [float(points[u][figure]) for u in updates]
            axes.plot([int(u) for u in updates], heights, color=colour, label=system if first else None)
            shown = True
    axes.set(xlabel="updates", ylabel=label)
    if shown:
        axes.legend()
    return shown


def density(axes: Any, summary: Mapping[str, Any], measure: str) -> bool:
    """Distribution over the validation set's target tokens, all seeds of a system together."""
    values: dict[str, list[np.ndarray]] = {}
    for name, tokens in summary["tokens"].items():
        values.setdefault(name.split("/")[0], []).append(tokens[measure])
    whole = np.concatenate([one for each in values.values() for one in each])
    bins = np.histogram_bin_edges(whole, bins=80, range=tuple(np.quantile(whole, [0.001, 0.999])))
    for name, each in values.items():
        colour = f"C{summary['systems'].index(name)}"
        axes.hist(np.concatenate(each), bins=bins, density=True, histtype="step", label=name, color=colour)
    axes.set(xlabel=f"{measure} of the target token's logit", ylabel="density")
    axes.legend()
    return True


def lengths(axes: Any, summary: Mapping[str, Any]) -> bool:
    """Bars of BLEU, mean over seeds, by bucket."""
    systems = list(summary["lengths"])
    width = 0.8 / len(systems)
    for number, name in enumerate(systems):
        found = summary["lengths"][name]
        places = np.arange(len(found)) + (number - (len(systems) - 1) / 2) * width
        axes.bar(places, list(found.values()), width, label=name, color=f"C{summary['systems'].index(name)}")
        axes.set_xticks(range(len(found)), list(found))
    axes.set(xlabel="words of the reference", ylabel="BLEU")
    axes.legend()
    return True
