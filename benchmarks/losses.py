"""The losses' time and memory on a CPU beside peers, into losses.csv: python -m benchmarks.losses FOLDER.

Cases already in the file are not measured again; delete it to start over. Where the environment tells glibc
to reuse its memory (MALLOC_TRIM_THRESHOLD_), only the losses of logits are measured, as cases of their own.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import measure, peers
from el_plugins.utils.program import positive

SIZES = [(4096, 6632), (4096, 16240), (2048, 32000), (1024, 131072), (512, 256000)]
WIDTHS = (512, 1024)
SMOOTHING = (0.0, 0.1)
ANCHORS = (2, 182_403, 80)  # two images of 800 x 1216


def cases() -> Iterator[tuple[str, str, int, int, dict[str, Any]]]:
    """(kind, case, bytes of the logits and of the gradients, peers) of all that is measured, in float32."""
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        yield from row_cases(measure.REUSED)
        return
    yield from row_cases("rows")
    last = torch.float32, "cpu"
    for count, classes in SIZES:
        size = 4 * count * classes
        for width in WIDTHS:
            case = f"{count}x{classes} D {width} float32 smoothing 0.1"
            compared = bound(peers.linear, peers.LINEAR, count, classes, width, 0.1, *last)
            yield "linear", case, size, 4 * (count + classes) * width, compared
    images, anchors, classes = ANCHORS
    size = 4 * images * anchors * classes
    yield (
        "focal",
        f"{images}x{anchors}x{classes} float32",
        size,
        size,
        bound(peers.focal, peers.FOCAL, *ANCHORS, *last),
    )


def row_cases(kind: str) -> Iterator[tuple[str, str, int, int, dict[str, Any]]]:
    """:func:`cases` of the losses of logits."""
    for count, classes in SIZES:
        size = 4 * count * classes
        for epsilon in SMOOTHING:
            case = f"{count}x{classes} float32 smoothing {epsilon}"
            compared = bound(peers.rows, peers.ROWS, count, classes, epsilon, torch.float32, "cpu")
            yield kind, case, size, size, compared


def bound(
    function: Callable[..., Any], losses: dict[str, Callable[..., Any]], *arguments: Any
) -> dict[str, Callable[[], Any]]:
    """``function`` of each loss and the arguments."""
    return {name: functools.partial(function, loss, *arguments) for name, loss in losses.items()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losses", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=measure.RESULTS, help="default: %(default)s")
    parser.add_argument("--repeats", type=positive, default=5)
    options = parser.parse_args()
    path = options.folder / "losses.csv"
    machine = measure.machine()
    try:
        lines = measure.resume(path, machine)
    except ValueError as error:
        raise SystemExit(f"benchmarks.losses: {error}") from error
    done = {(line["kind"], line["case"]) for line in lines}
    for kind, case, size, gradients, compared in tqdm(list(cases()), unit="case", disable=None):
        if (kind, case) in done:
            continue
        measured = measure.compare(compared, options.repeats)
        first = next(iter(measured.values()))
        for peer, figures in measured.items():
            lines.append(
                {
                    "kind": kind,
                    "case": case,
                    "peer": peer,
                    "milliseconds": round(1e3 * figures["seconds"], 2),
                    "fastest": round(1e3 * figures["fastest"], 2),
                    "slowest": round(1e3 * figures["slowest"], 2),
                    "time ratio": round(figures["seconds"] / first["seconds"], 3),
                    "memory MiB": round(figures["memory"] / 2**20, 1),
                    "memory / logits": round(figures["memory"] / size, 3),
                    "gradients / logits": round(gradients / size, 3),
                    "machine": machine,
                }
            )
        measure.write(path, lines)  # after each case: an interruption loses one at most


if __name__ == "__main__":
    main()
