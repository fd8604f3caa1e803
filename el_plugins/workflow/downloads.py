"""Files from the network, whole or not at all."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path


def download(url: str, path: Path) -> Path:
    """Fetch ``url`` to ``path`` unless it is there.

    Raises:
        RuntimeError: it cannot be had; the message says where to put the file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            raise RuntimeError(f"cannot download {url} ({error}): put it at {path} yourself") from error
        part.replace(path)
    return path
