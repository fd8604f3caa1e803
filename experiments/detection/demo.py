"""The demo: a small RetinaNet with focal loss and one with halted focal loss, compared over seeds.

Both train from scratch with the same seeds and budget: on scenes of handwritten digits, on tiles of aerial
photographs with trees, or on microscope pictures of blood cells (BCCD). The report has COCO's AP, overall and
by class frequency, and pictures of detections beside the truth. Stopped and started again, it resumes.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import detectron2_heads
from el_plugins.detection.benchmark.data import fingerprint
from el_plugins.detection.benchmark.driver import execute
from el_plugins.detection.benchmark.machines import Machines
from el_plugins.detection.benchmark.runs import Run
from el_plugins.detection.benchmark.settings import Benchmark, Data, DataSet, System
from el_plugins.utils.program import positive, program
from el_plugins.utils.runs import announce
from experiments.detection import bccd, digits, report, trees

CONFIG = Path(detectron2_heads.__file__).parent / "configs" / "small_R_18_FPN_scratch.yaml"
SYSTEMS = {"focal": "RetinaNet", "halted_focal": "HaltedFocalRetinaNet"}
LOSS = {"FOCAL_LOSS_ALPHA": 0.5, "FOCAL_LOSS_GAMMA": 1.0}  # the authors', for both
# Iterations keep one seed within a quarter of an hour on two cores.
DATA: dict[str, dict[str, Any]] = {
    "digits": {"iterations": 800, "size": digits.SIZE, "batch": 8, "classes": 10, "flip": "none"},
    "trees": {"iterations": 400, "size": trees.SIZE, "batch": 4, "classes": 1, "flip": "horizontal"},
    "bccd": {"iterations": 600, "size": bccd.HEIGHT, "batch": 4, "classes": 3, "flip": "horizontal"},
}


class DemoRun(Run):
    """A run of the benchmark that trains with AdamW, for small detectors from scratch."""

    trainer = "experiments.detection.train"


def make_data(name: str, folder: Path, downloads: Path, archive: Path | None) -> None:
    """Write the data set ``name`` into ``folder`` unless it is there."""
    if name == "digits":
        digits.make(folder)
    elif name == "trees":
        trees.make(folder, downloads)
    else:
        bccd.make(folder, archive or downloads / "bccd.zip")


def plan(name: str, folder: Path, iterations: int, seeds: Sequence[int]) -> list[Run]:
    """The runs, with the data set in ``folder``."""
    settings, pictures = DATA[name], folder / "data"
    options = {
        "MODEL.RETINANET.NUM_CLASSES": settings["classes"],
        **{f"MODEL.RETINANET.{key}": value for key, value in LOSS.items()},
        "INPUT.MIN_SIZE_TRAIN": (settings["size"],),
        "INPUT.MIN_SIZE_TEST": settings["size"],
        "INPUT.RANDOM_FLIP": settings["flip"],
        "SOLVER.IMS_PER_BATCH": settings["batch"],
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.CHECKPOINT_PERIOD": 100,
    }
    train, test = (
        DataSet(f"{name}_{split}", str(pictures / f"{split}.json"), str(pictures / split))
        for split in ("train", "val")
    )
    benchmark = Benchmark(
        data=Data(train, test),
        systems=[
            System(system, options=f"MODEL.META_ARCHITECTURE {model}") for system, model in SYSTEMS.items()
        ],
        seeds=list(seeds),
        config=str(CONFIG),
        options=shlex.join(str(word) for option in options.items() for word in option),
    )
    data = {"train data": fingerprint(train), "test data": fingerprint(test)}
    return [
        DemoRun(benchmark, system, seed, folder, gpus=1, machines=Machines(), data=data)
        for seed in seeds
        for system in benchmark.systems
    ]


def demo(name: str, folder: Path, iterations: int, seeds: Sequence[int], archive: Path | None = None) -> None:
    """Run what is missing of the demo in ``folder``, and write and print its report.

    Raises:
        RuntimeError: a training failed, or the data cannot be downloaded.
        ValueError: ``folder`` holds results of other settings, or the archive is not the data set's.
    """
    pictures = folder / "data"
    make_data(name, pictures, folder.parent / "downloads", archive)
    runs = plan(name, folder, iterations, seeds)
    for run in runs:
        run.check()
    announce(runs)
    if failed := execute(runs, Machines()):
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")
    for run in runs:
        for checkpoint in run.folder.glob("model_0*.pth"):  # the final one stays
            checkpoint.unlink()
    report.write(name, folder, runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m experiments.detection.demo``."""
    budgets = ", ".join(f"{name} {settings['iterations']}" for name, settings in DATA.items())
    parser = argparse.ArgumentParser(prog="python -m experiments.detection.demo", description=__doc__)
    parser.add_argument("--data", choices=list(DATA), default="digits", help="what to detect")
    parser.add_argument("--folder", type=Path, help="where everything goes (default: demo/DATA)")
    parser.add_argument("--archive", type=Path, help="of bccd: .zip or .tar, downloaded if missing")
    parser.add_argument("--iterations", type=positive, help=f"of each run (default: {budgets})")
    parser.add_argument("--seeds", type=positive, nargs="+", default=[1], metavar="N", help="default: 1")
    options = parser.parse_args(arguments)
    if options.archive and options.data != "bccd":
        parser.error(f"--archive is for --data bccd, got --data {options.data}")
    started = time.monotonic()
    with program("demo", "stopped; start it again to resume"):
        folder = (options.folder or Path("demo") / options.data).resolve()
        iterations = options.iterations or DATA[options.data]["iterations"]
        demo(options.data, folder, iterations, options.seeds, options.archive)
    print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
