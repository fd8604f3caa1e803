"""Colours of the plots in light and dark schemes, and SVG files that follow the reader's scheme."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from el_plugins.utils.files import write_text

INK, PAPER, GRID = "#1b1b1c", "#fefefe", "#d9d9da"
# Okabe and Ito's colours, darkened for contrast on white; the second of each pair is for dark backgrounds.
SERIES = {
    "#0072b2": "#4fb0f0",
    "#d55e00": "#ff8a3c",
    "#00805c": "#2cc79a",
    "#a8467f": "#f09fc8",
    "#7a6400": "#e6d04a",
    "#5d5d66": "#b4b4c0",
}
DARK = {INK: "#e8e8e6", PAPER: "#15171b", GRID: "#3a3d44", **SERIES}
# Text stays text, and equal figures give equal files.
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
    """Write ``figure`` as SVG whose colours change if the reader prefers a dark scheme."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark} !important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    rules = f"@media (prefers-color-scheme: dark){{{rules}}}"
    write_text(path, file.getvalue().replace("</style>", f"{rules}</style>", 1))
