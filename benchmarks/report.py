"""The measured CSVs as Markdown and a chart: python -m benchmarks.report FOLDER."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.measure import RESULTS, REUSED, read
from el_plugins.utils.files import atomic_file, write_text

TITLES = {
    "rows": "Encouraging loss beside cross-entropy",
    REUSED: "The same, with glibc told to reuse its memory",
    "linear": "From hidden states: with the output layer's matrix product and all gradients",
    "focal": "Halted focal loss at RetinaNet's size, two images of 800 x 1216",
}
DRAWN = ("fairseq LS-CE", "torch cross_entropy", "authors' EL", "EL", "EL in place", "EL, plain chunks")


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Rows of a CSV as a table."""
    names = [name for name in rows[0] if name not in ("kind", "machine")]
    if rows[0].get("kind") == REUSED:  # the peak then tells nothing of a single call
        names = [name for name in names if "MiB" not in name and "/" not in name]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(row[name] for name in names) + " |" for row in rows])


def draw(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Time and memory of the row losses against the number of classes, smoothed, in single precision."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    shown = [row for row in rows if row["kind"] == "rows" and row["case"].endswith("float32 smoothing 0.1")]
    cases = list(dict.fromkeys(row["case"] for row in shown))
    labels = [case.split()[0] for case in cases]
    for axis, column in zip(axes, ("time ratio", "memory / logits")):
        for peer in DRAWN:
            values = {row["case"]: float(row[column]) for row in shown if row["peer"] == peer}
            axis.plot(labels, [max(values[case], 0.01) for case in cases], "o-", label=peer)
        axis.set(yscale="log", xlabel="tokens x vocabulary")
        axis.grid(alpha=0.3)
    axes[0].set(title="time, forward and backward, to fairseq LS-CE's")
    axes[1].set(title="memory beyond the logits, in logits (at least 0.01)")
    axes[1].legend(fontsize=8, loc=(0.6, 0.12))
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    plt.close(figure)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS, help="default: %(default)s")
    folder = parser.parse_args().folder
    rows = read(folder / "losses.csv")
    parts = [
        "# Speed and memory",
        f"By `make bench` on {rows[0]['machine']}. Ratios are to the first peer of each case; times are "
        "medians in milliseconds of forward and backward together; memory is the peak beyond the inputs, the "
        "gradients of logits, or of hidden states and matrix, included. It is the growth of the process: "
        "what the process holds already counts as 0, so small figures are lower bounds. The last column is "
        "the size of these gradients; in place they overwrite the logits.",
        "![time and memory against the vocabulary](chart.png)",
    ]
    for kind, title in TITLES.items():
        measured = [row for row in rows if row["kind"] == kind]
        parts += [f"## {title}", markdown(measured)] if measured else []
    if (folder / "training.csv").exists():
        parts += [
            "## Whole trainings by fairseq-train, the demo's model",
            markdown(read(folder / "training.csv")),
        ]
    if (folder / "share.csv").exists():
        parts += ["## How much of a step of that training is the loss", markdown(read(folder / "share.csv"))]
    if (folder / "language_models.csv").exists():
        parts += ["## A step of a language model", markdown(read(folder / "language_models.csv"))]
    draw(rows, folder / "chart.png")
    write_text(folder / "speed.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
