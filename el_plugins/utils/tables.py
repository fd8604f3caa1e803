"""Markdown tables and the format of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]], first: str = "system") -> str:
    """Markdown table of :func:`cells`."""
    return aligned(cells(columns, rows, first))


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Markdown table of rows of text, the heading first, aligned to be readable as plain text."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return "\n".join(lines)


def cells(
    columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]], first: str = "system"
) -> list[list[str]]:
    """The rows of a table, its heading first.

    Args:
        columns: format of the values by column.
        rows: values by column, by name of the row; None becomes a dash, text is unchanged.
        first: heading of the column of row names.
    """
    lines = [[first, *columns]]
    for name, row in rows.items():
        lines.append([name, *(cell(row[column], style) for column, style in columns.items())])
    return lines


def cell(value: Any, style: str) -> str:
    """``value`` in the format ``style``; a dash for None, text unchanged."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else style.format(value)


def format_interval(low: float, high: float) -> str:
    """The ends of a confidence interval."""
    return f"{low:+.2f} to {high:+.2f}"


def format_mean_std(mean: float, deviation: float | None, digits: int = 2) -> str:
    """34.50 ± 0.71; only the mean if there is no deviation."""
    return f"{mean:.{digits}f}" if deviation is None else f"{mean:.{digits}f} ± {deviation:.{digits}f}"
