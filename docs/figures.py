"""Draw the figures of the README and these pages: ``python docs/figures.py [FOLDER]``.

Grey text on no background and middle tones read well on light and on dark pages alike.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from el_plugins.losses.schedule import SHAPES, bonus_factor
from experiments.plots import plot_bonuses, plot_family, plot_halted_focal, plot_losses

IMAGES = Path(__file__).parent / "images"
COSTS = Path(__file__).parents[1] / "benchmarks" / "results" / "losses.csv"
GREY = "#7f7f87"
COLOURS = ["#2f7fd0", "#e0701a", "#1f9d76", "#b455a0", "#a98600"]
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "el_plugins",  # the same figure gives the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
}
CASE = "2048x32000 float32 smoothing 0.1"
PEERS = {
    "authors' EL": "EL, authors' formula",
    "torch cross_entropy": "cross-entropy, torch",
    "fairseq LS-CE": "cross-entropy, fairseq",
    "EL, plain chunks": "EL, no C++ compiler",
    "EL": "EL",
    "EL in place": "EL, in place",
}


def draw_losses(axes: Any) -> None:
    """Cross-entropy, the normal bonus and their sum (Figure 2 of the paper)."""
    plot_losses(axes)
    axes.set(ylim=(-5.4, 5.4), title="encouraging loss = cross-entropy + bonus")


def draw_bonuses(axes: Any) -> None:
    """Encouraging loss for several ``log_end`` (Figure 3 of the paper)."""
    plot_bonuses(axes)
    axes.lines[-1].set_color(GREY)
    axes.legend()
    axes.set(ylim=(-5.4, 5.4), title="a straight line above log_end")


def draw_halted_focal(axes: Any) -> None:
    """Focal and halted focal loss (Figure 9 of the paper)."""
    plot_halted_focal(axes)
    axes.set(ylim=(-0.5, 3), title="focal loss, halted at p = 1/2 (gamma 1)")


def draw_family(axes: Any) -> None:
    """Encouraging loss among its relatives: the gradient in the target's logit."""
    plot_family(axes)
    axes.axhline(0, color=GREY, linewidth=0.5)
    blue, orange, green, purple, _ = COLOURS
    colours = [GREY, green, orange, orange, purple, blue, blue, blue]
    for line, colour, style in zip(axes.lines, colours, ["-", "-", "-", "--", "-", "-.", "-", ":"]):
        line.set(color=colour, linestyle=style)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(title="what is well classified is pushed on, or let go")


def draw_schedules(axes: Any) -> None:
    """The factor of the bonus' weight over updates."""
    delay, warmup = 1000, 1000
    updates = np.arange(0, 3001, 10)
    for shape in SHAPES:
        axes.plot(updates, [bonus_factor(int(u), delay, warmup, shape) for u in updates], label=shape)
    axes.set(
        xlabel="update", ylabel="factor of the bonus", title=f"a delay of {delay}, a warm-up of {warmup}"
    )
    axes.legend()


def draw_costs(axes: Any) -> None:
    """Time and memory beside the peers, measured by ``make bench``."""
    with COSTS.open(encoding="utf-8") as file:
        rows = {
            row["peer"]: row for row in csv.DictReader(file) if (row["kind"], row["case"]) == ("rows", CASE)
        }
    for axis, column, title in zip(
        axes, ("time ratio", "memory / logits"), ("time, to fairseq's", "memory, in logits")
    ):
        values = [float(rows[peer][column]) for peer in PEERS]
        colours = [COLOURS[0] if peer.startswith("EL") else GREY for peer in PEERS]
        bars = axis.barh(list(PEERS.values()), values, color=colours)
        axis.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
        axis.set(title=title, xlim=(0, 1.2 * max(values)), xticks=[])
        axis.spines["bottom"].set_visible(False)
        axis.tick_params(left=False)
    axes[1].set_yticks([])


def save(
    path: Path, draw: Callable[[Any], None], columns: int = 1, size: tuple[float, float] = (5, 3.4)
) -> None:
    """Draw on axes, or on ``columns`` of them, and write an SVG without a background."""
    figure, axes = plt.subplots(1, columns, figsize=size, layout="constrained")
    draw(axes)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


def main(folder: Path) -> None:
    """Write every figure into ``folder``."""
    with matplotlib.rc_context(STYLE):
        save(folder / "losses.svg", draw_losses)
        save(folder / "bonuses.svg", draw_bonuses)
        save(folder / "halted_focal.svg", draw_halted_focal)
        save(folder / "family.svg", draw_family, size=(6.6, 3.4))
        save(folder / "schedules.svg", draw_schedules)
        save(folder / "costs.svg", draw_costs, columns=2, size=(6.6, 2.4))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
