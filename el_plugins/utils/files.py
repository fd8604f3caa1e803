"""Files written whole or not at all, and results that never mix with those of other settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


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
