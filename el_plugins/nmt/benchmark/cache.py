"""A cache on disk for figures that take minutes to compute, keyed by a digest of their inputs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sacrebleu

from el_plugins.utils.files import read_json, write_json


def cached(folder: Path, inputs: Any, compute: Callable[[], Any]) -> Any:
    """``compute()``, or its cached result for equal ``inputs``.

    Args:
        folder: of one file per result; made if missing.
        inputs: what the result depends on beside sacrebleu's release and seed; JSON-serialisable.
    """
    made_by = [sacrebleu.__version__, os.environ.get("SACREBLEU_SEED")]
    content = json.dumps([made_by, inputs])
    path = folder / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, compute())
    return read_json(path)
