"""The figures of a GPU as a Markdown table and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.measure import read
from benchmarks.report import markdown
from el_plugins.utils.files import atomic_file, write_text

TITLES = {
    "rows": "Encouraging loss beside cross-entropy",
    "focal": "Halted focal loss at RetinaNet's size, two images of 800 x 1216",
    "linear": "From hidden states: with the output layer's matrix product and all gradients",
}
OURS = ("EL", "EL in place", "halted focal", "linear EL")


def write(folder: Path) -> None:
    """README.md and chart.svg from the losses.csv in ``folder``."""
    lines = read(folder / "losses.csv")
    draw(lines, folder / "chart.svg")
    parts = [
        "# Benchmarks on a GPU",
        f"By `make bench-gpu` on {lines[0]['machine']}. Forward and backward together: medians in "
        "milliseconds of the GPU, with inputs that are not in its cache and all work queued before it "
        "begins; *host ms* is what the host takes to queue it. Time ratios are to the first peer of each "
        "case; a copy reads the logits once and writes as many bytes. Memory is the peak beyond the inputs, "
        "gradients included.",
        "![time by peer](chart.svg)",
    ]
    for kind, title in TITLES.items():
        if chosen := [line for line in lines if line["kind"] == kind]:
            parts += [f"## {title}", markdown(chosen)]
    write_text(folder / "README.md", "\n\n".join(parts) + "\n")


def draw(lines: Sequence[dict[str, str]], path: Path) -> None:
    """Bars of the milliseconds of every peer, an axis for each case in bfloat16."""
    shown = [line for line in lines if "bfloat16" in line["case"] and line["milliseconds"]] or list(lines)
    cases = list(dict.fromkeys((line["kind"], line["case"]) for line in shown))
    columns = 2
    rows = -(-len(cases) // columns)
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "el_plugins"}):
        figure, axes = plt.subplots(
            rows, columns, figsize=(11, 2.4 * rows), layout="constrained", squeeze=False
        )
        for axis, key in zip(axes.flat, cases):
            bars = {
                line["peer"]: float(line["milliseconds"] or 0)
                for line in shown
                if (line["kind"], line["case"]) == key
            }
            colours = ["#2f7fd0" if peer in OURS else "#7f7f87" for peer in bars]
            drawn = axis.barh(list(bars), list(bars.values()), color=colours)
            axis.bar_label(drawn, [f"{value:.3g} ms" for value in bars.values()], padding=3, fontsize=8)
            axis.set_title(f"{key[0]}: {key[1]}", fontsize=9)
            axis.set(xticks=[], xlim=(0, 1.25 * max([*bars.values(), 1e-9])))
            axis.tick_params(labelsize=8)
            axis.invert_yaxis()
        for axis in axes.flat[len(cases) :]:
            axis.set_visible(False)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        plt.close(figure)
