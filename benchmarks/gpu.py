"""The losses on a GPU beside their peers, into losses.csv, README.md and chart.svg: make bench-gpu.

Cases already in the file are not measured again; delete it to start over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks import gpu_measure, gpu_peers, gpu_report, measure, peers
from benchmarks.losses import ANCHORS, SMOOTHING, bound
from el_plugins.utils.program import positive

FOLDER = Path("benchmarks/results/gpu")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
ROWS = ((4096, 6632), (8192, 32_000), (8192, 131_072))
LINEAR = ((8192, 32_000, 1024), (8192, 131_072, 4096))


class Case(NamedTuple):
    """What is measured: the first peer is what ratios are to."""

    kind: str
    name: str
    size: int  # bytes of the logits
    peers: dict[str, Callable[[], Callable[[], Any]]]


def cases(
    device: str,
    rows: Sequence[tuple[int, int]] = ROWS,
    linear: Sequence[tuple[int, int, int]] = LINEAR,
    anchors: tuple[int, int, int] = ANCHORS,
) -> Iterator[Case]:
    """All cases, tokens x vocabulary (x hidden units), images x anchors x classes; the largest last."""
    for count, classes in rows:
        for dtype in DTYPES:
            for epsilon in SMOOTHING:
                name = f"{count}x{classes} {short(dtype)} smoothing {epsilon}"
                arguments = (count, classes, epsilon, dtype, device)
                losses = gpu_peers.rows(peers.PAD, epsilon)
                yield Case(
                    "rows", name, count * classes * dtype.itemsize, bound(peers.rows, losses, *arguments)
                )
    for dtype in DTYPES:
        name = "x".join(map(str, anchors)) + f" {short(dtype)}"
        size = anchors[0] * anchors[1] * anchors[2] * dtype.itemsize
        yield Case("focal", name, size, bound(peers.focal, gpu_peers.focal(), *anchors, dtype, device))
    for count, classes, width in linear:
        dtype, epsilon = torch.bfloat16, 0.1
        name = f"{count}x{classes} D {width} {short(dtype)} smoothing {epsilon}"
        losses = gpu_peers.linear(peers.PAD)
        compared = bound(peers.linear, losses, count, classes, width, epsilon, dtype, device)
        yield Case("linear", name, count * classes * dtype.itemsize, compared)


def short(dtype: torch.dtype) -> str:
    """``bfloat16`` for ``torch.bfloat16``."""
    return str(dtype).split(".")[1]


def run(case: Case, runs: int, device: str, machine: str) -> list[dict[str, Any]]:
    """A line for each peer; one that fails, or for which memory is short, has a note in place of figures."""
    torch.compiler.reset()  # a peer is compiled for each case, and torch keeps few variants
    lines: list[dict[str, Any]] = []
    found: dict[str, dict[str, float]] = {}
    for peer, prepare in case.peers.items():
        torch.manual_seed(0)
        line: dict[str, Any] = {"kind": case.kind, "case": case.name, "peer": peer}
        try:
            found[peer] = gpu_measure.measure(prepare, runs, device)
        except Exception as error:  # of another project, on a card that it does not know
            reason = str(error).strip().partition("\n")[0][:100]
            print(f"{case.name}, {peer}: {type(error).__name__}: {reason}", file=sys.stderr)
            lines.append({**line, "note": type(error).__name__})
            continue
        lines.append({**line, "note": ""})
    first = found.get(next(iter(case.peers)))
    copy = found.get(gpu_peers.COPY)
    for line in lines:
        figures = found.get(line["peer"], {})
        line.update(
            {name: round(figures[name], 4) for name in ("milliseconds", "fastest", "slowest") if figures}
        )
        line["host ms"] = round(figures["host"], 4) if figures else ""
        line["time ratio"] = ratio(figures, first)
        line["of a copy's bandwidth"] = ratio(copy, figures)
        line["memory MiB"] = round(figures["memory"] / 2**20, 1) if figures else ""
        line["memory / logits"] = round(figures["memory"] / case.size, 3) if figures else ""
        line["machine"] = machine
    return lines


def ratio(one: dict[str, float] | None, other: dict[str, float] | None) -> float | str:
    """Of the times, where both were measured."""
    return round(one["milliseconds"] / other["milliseconds"], 3) if one and other else ""


COLUMNS = (
    "kind", "case", "peer", "milliseconds", "fastest", "slowest", "host ms", "time ratio",
    "of a copy's bandwidth", "memory MiB", "memory / logits", "note", "machine",
)  # fmt: skip


def write(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """The CSV, and the table and the figure of it."""
    measure.write(folder / "losses.csv", lines, COLUMNS)
    gpu_report.write(folder)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="default: %(default)s")
    parser.add_argument("--runs", type=positive, default=50, help="timings of each call (%(default)s)")
    parser.add_argument("--kind", choices=sorted(gpu_report.TITLES), action="append", help="default: all")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: torch finds no GPU, and nothing was measured")
    chosen = [case for case in cases("cuda") if not options.kind or case.kind in options.kind]
    machine = gpu_measure.machine()
    try:
        lines = measure.resume(options.folder / "losses.csv", machine)
    except ValueError as error:
        raise SystemExit(f"benchmarks.gpu: {error}") from error
    done = {(line["kind"], line["case"]) for line in lines}
    for case in tqdm([one for one in chosen if one[:2] not in done], unit="case", disable=None):
        lines += run(case, options.runs, "cuda", machine)
        write(lines, options.folder)  # after each case, so that a stop loses one at most


if __name__ == "__main__":
    main()
