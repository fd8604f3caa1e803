"""Tables in Markdown, and figures as they stand in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]], first: str = "system") -> str:
    """Markdown table of :func:`cells`."""
    return aligned(cells(columns, rows, first))


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Markdown table of lines of text, the heading first, aligned so that it reads as plain text too."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return "\n".join(lines)


def cells(
    columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]], first: str = "system"
) -> list[list[str]]:
    """The lines of a table, its heading first.

    Args:
        columns: format of each column's values by its name.
        rows: values by column, by name of the row; None shows as a dash, text as it is.
        first: heading of the rows' names.
    """
    found = [[first, *columns]]
    for name, row in rows.items():
        found.append([name, *(cell(row[column], style) for column, style in columns.items())])
    return found


def cell(value: Any, style: str) -> str:
    """``value`` in the format ``style``; a dash for None, text as it is."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else style.format(value)


def format_mean_std(mean: float, deviation: float | None, digits: int = 2) -> str:
    """34.50 ± 0.71; the mean alone where there is one value."""
    return f"{mean:.{digits}f}" if deviation is None else f"{mean:.{digits}f} ± {deviation:.{digits}f}"
