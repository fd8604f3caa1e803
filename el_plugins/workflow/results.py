"""Results as tables and files: written whole or not at all, and never mixed with those of other settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


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


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (of a sample; None for a single value); NaN where a value is."""
    column = torch.tensor(values, dtype=torch.float64)
    return column.mean().item(), column.std().item() if len(values) > 1 else None


def with_spread(mean: float, deviation: float | None, digits: int = 2) -> str:
    """34.50 ± 0.71; the mean alone where there is one value."""
    return f"{mean:.{digits}f}" if deviation is None else f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def write_text(path: Path, text: str) -> None:
    """Write a small file so that it is never half there."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """:func:`write_text` of ``value`` as JSON.

    Raises:
        ValueError: it holds NaN or infinity, for which JSON has no word: see :func:`without_nan`.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Sequence[Any]) -> None:
    """:func:`write_json` with a line a row."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def without_nan(value: Any) -> Any:
    """``value`` with None in the place of every NaN in its dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def check_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Keep ``settings`` in ``folder/settings.json``, and refuse to mix results of different ones.

    Raises:
        ValueError: the folder's results were made with other settings; the message names them.
    """
    path = folder / "settings.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)
    elif (found := json.loads(path.read_text(encoding="utf-8"))) != settings:
        changed = [name for name in settings if settings[name] != found.get(name)]
        raise ValueError(f"{folder} was made with other settings ({', '.join(changed)}): take another folder")
