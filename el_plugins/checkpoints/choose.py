"""Which of a folder's fairseq checkpoints to average: the last ones or the best ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from el_plugins.checkpoints.safe_loading import load_checkpoint

EPOCH = re.compile(r"checkpoint(\d+)\.pt")
UPDATE = re.compile(r"checkpoint_\d+_(\d+)\.pt")
# fairseq writes the metric with three decimals and appends a random digit, so that ties do not collide.
BEST = re.compile(r"checkpoint\.best_(.+)_(-?\d+\.\d{3})\d*\.pt")


def last_checkpoints(
    folder: Path, count: int, *, by_update: bool = False, upper_bound: int | None = None
) -> list[Path]:
    """The last ``count`` epoch (or update) checkpoints of ``folder``, oldest first.

    Args:
        upper_bound: leave out those after this epoch (or update).

    Raises:
        ValueError: there are fewer than ``count``.
    """
    paths = numbered_checkpoints(folder, by_update=by_update, upper_bound=upper_bound)
    kind = "update" if by_update else "epoch"
    return _enough(paths, count, f"{kind} checkpoints", folder)[-count:]


def numbered_checkpoints(
    folder: Path, *, by_update: bool = False, upper_bound: int | None = None
) -> list[Path]:
    """All epoch (or update) checkpoints of ``folder`` up to ``upper_bound``, oldest first."""
    pattern = UPDATE if by_update else EPOCH
    numbered = [(int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    return [path for number, path in sorted(numbered) if upper_bound is None or number <= upper_bound]


def best_checkpoints(folder: Path, count: int, *, unsafe: bool = False) -> list[Path]:
    """The best ``count`` checkpoints saved by ``--keep-best-checkpoints`` in ``folder``, best first.

    Whether a high or a low metric is best is read from the settings stored in one of them.

    Args:
        unsafe: see :func:`load_checkpoint`.

    Raises:
        ValueError: there are fewer than ``count``, their metrics differ, or the direction is not stored.
    """
    named = [(match, path) for path in folder.iterdir() if (match := BEST.fullmatch(path.name))]
    metrics = sorted({match[1] for match, _ in named})
    if len(metrics) > 1:
        raise ValueError(f"{folder} holds the best checkpoints of several metrics: {', '.join(metrics)}")
    paths = [path for _, path in sorted(named, key=lambda entry: (float(entry[0][2]), entry[1].name))]
    _enough(paths, count, "checkpoint.best_*.pt", folder)
    if maximize(paths[0], unsafe=unsafe):
        paths.reverse()
    return paths[:count]


def maximize(path: Path, *, unsafe: bool = False) -> bool:
    """Whether the checkpoint's training called a high metric best.

    Raises:
        ValueError: the file does not say.
    """
    checkpoint = load_checkpoint(path, unsafe=unsafe)
    # In ``args`` of releases before 0.10; under ``cfg`` a dictionary, or a namespace in older ones.
    checkpoint = checkpoint if isinstance(checkpoint, Mapping) else {}
    settings = checkpoint.get("args") or (checkpoint.get("cfg") or {}).get("checkpoint")
    settings = settings if settings is None or isinstance(settings, Mapping) else vars(settings)
    if not settings or "maximize_best_checkpoint_metric" not in settings:
        raise ValueError(
            f"{path} has no settings of fairseq that say whether a high or a low metric is best: name the "
            "files with --inputs"
        )
    return bool(settings["maximize_best_checkpoint_metric"])


def _enough(paths: list[Path], count: int, what: str, folder: Path) -> list[Path]:
    if len(paths) < count:
        raise ValueError(f"{folder} has {len(paths)} {what}, fewer than the {count} asked for")
    return paths
