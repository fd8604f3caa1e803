"""Colours of the plots in light and dark schemes, and saving them as SVG that follows the reader's scheme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

INK, PAPER, GRID = "#1b1b1c", "#fefefe", "#d9d9da"
# Okabe and Ito's, darkened where white paper needs it; the second of each pair is for dark paper.
SERIES = {
    "#0072b2": "#4fb0f0",
    "#d55e00": "#ff8a3c",
    "#00805c": "#2cc79a",
    "#a8467f": "#f09fc8",
    "#7a6400": "#e6d04a",
    "#5d5d66": "#b4b4c0",
}
DARK = {INK: "#e8e8e6", PAPER: "#15171b", GRID: "#3a3d44", **SERIES}
# Text stays text, and the same figures give the same file.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "el-nmt-benchmark",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "grid.color": GRID,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


def series(number: int) -> str:
    """The colour of the system of this number."""
    return list(SERIES)[number % len(SERIES)]


def save(figure: Any, path: Path) -> None:
    """Write ``figure`` as SVG whose colours change where the reader prefers a dark scheme."""
    temporary = path.with_name(f"{path.stem}.tmp.svg")
    figure.savefig(temporary, metadata={"Date": None})
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark} !important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    text = temporary.read_text(encoding="utf-8")
    rules = f"@media (prefers-color-scheme: dark){{{rules}}}"
    temporary.write_text(text.replace("</style>", f"{rules}</style>", 1), encoding="utf-8")
    temporary.replace(path)
