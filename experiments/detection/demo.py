"""The demo: one small RetinaNet with focal loss, one with halted focal loss, compared.

Both train from scratch with the same seed and budget on pictures made from real data: scenes of
handwritten digits, or tiles of aerial photographs with trees. COCO's AP, overall and by class frequency,
and pictures of detections beside the truth. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import detectron2_heads
from el_plugins.checkpoints.average import positive
from el_plugins.detection import report
from el_plugins.detection.coco import class_counts
from el_plugins.utils.commands import run
from el_plugins.utils.divergence import DIVERGED, MARK, diverged_at
from el_plugins.utils.files import check_settings, read_json, write_json, write_text
from el_plugins.utils.program import program
from el_plugins.utils.tables import table
from experiments.detection import digits, trees

CONFIG = Path(detectron2_heads.__file__).parent / "configs" / "small_R_18_FPN_scratch.yaml"
SYSTEMS = {"focal": "RetinaNet", "halted_focal": "HaltedFocalRetinaNet"}
LOSS = {"FOCAL_LOSS_ALPHA": 0.5, "FOCAL_LOSS_GAMMA": 1.0}  # the authors', for both
# Iterations keep the whole within a quarter of an hour on two cores.
DATA: dict[str, dict[str, Any]] = {
    "digits": {"iterations": 800, "size": 128, "batch": 8, "classes": 10, "flip": "none"},
    "trees": {"iterations": 400, "size": trees.SIZE, "batch": 4, "classes": 1, "flip": "horizontal"},
}
PROGRESS = re.compile(r"iter: (\d+).*?total_loss: (\S+)")
NOTES = """\
AP is COCO's, in percent, on the validation part; AP frequent, middle and rare, where there are several
classes, are its means over the most frequent third of them in training, the middle and the rarest third. One
seed is no verdict.
"""


def make_data(name: str, folder: Path, downloads: Path) -> None:
    """Write the data set ``name`` into ``folder`` unless it is there."""
    if name == "digits":
        digits.make(folder)
    else:
        trees.make(folder, downloads)


def train(system: str, data: str, pictures: Path, folder: Path, iterations: int, seed: int) -> None:
    """Train and evaluate ``system`` into ``folder``, with a progress bar; one that diverges says so there."""
    settings = DATA[data]
    options = {
        "MODEL.META_ARCHITECTURE": SYSTEMS[system],
        "MODEL.RETINANET.NUM_CLASSES": settings["classes"],
        **{f"MODEL.RETINANET.{key}": value for key, value in LOSS.items()},
        "INPUT.MIN_SIZE_TRAIN": (settings["size"],),
        "INPUT.MIN_SIZE_TEST": settings["size"],
        "INPUT.RANDOM_FLIP": settings["flip"],
        "SOLVER.IMS_PER_BATCH": settings["batch"],
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.CHECKPOINT_PERIOD": 100,
        "SEED": seed,
        "OUTPUT_DIR": folder,
        "DATASETS.TRAIN": (f"{data}_train",),
        "DATASETS.TEST": (f"{data}_val",),
    }
    command: list[Any] = [sys.executable, "-m", "experiments.detection.train", "--resume"]
    command += ["--config-file", CONFIG]
    for split in ("train", "val"):
        command += ["--dataset", f"{data}_{split}", pictures / f"{split}.json", pictures / split]
    command += [word for option in options.items() for word in option]
    with tqdm(total=iterations, desc=f"training {system}", unit="iteration", disable=None) as bar:

        def watch(line: str) -> None:
            if match := PROGRESS.search(line):
                bar.n = int(match[1]) + 1
                bar.set_postfix_str(f"loss {match[2]}")

        try:
            run([str(word) for word in command], folder / "train.log", watch, append=True)
        except RuntimeError:
            if not (folder / "results.json").exists():  # it has one where the training diverged
                raise
    for checkpoint in folder.glob("model_0*.pth"):  # the final one stays
        checkpoint.unlink()


def demo(data: str, folder: Path, iterations: int, seed: int) -> None:
    """Run what is missing of the demo in ``folder`` and write and print its report."""
    settings = {"data": data, "iterations": iterations, "seed": seed, "loss": LOSS, **DATA[data]}
    settings["iterations"] = iterations
    check_settings(settings, folder)
    pictures = folder / "data"
    make_data(data, pictures, folder.parent / "downloads")
    results = {}
    for system in SYSTEMS:
        output = folder / system
        output.mkdir(exist_ok=True)
        if not (output / "results.json").exists():
            train(system, data, pictures, output, iterations, seed)
        outcome = read_json(output / "results.json")
        if DIVERGED in outcome:
            print(f"{system} {diverged_at(outcome[DIVERGED])}; to try it again, delete {output}")
        results[system] = outcome
    counts = class_counts(pictures / "train.json")
    columns = report.columns(counts)
    scores = {system: outcome["bbox"] for system, outcome in results.items() if DIVERGED not in outcome}
    rows: dict[str, Any] = {
        system: report.metrics(scores[system], counts) if system in scores else dict.fromkeys(columns, MARK)
        for system in SYSTEMS
    }
    text = table(dict.fromkeys(columns, "{:.1f}"), rows)
    detections = {system: folder / system / "inference" / "coco_instances_results.json" for system in scores}
    report.draw_detections(pictures, detections, folder / "detections.png")
    shown = ["detections.png"]
    if len(counts) > 1:
        report.draw_ap_by_class(scores, counts, folder / "ap_by_class.png")
        shown.append("ap_by_class.png")
    links = "".join(f"![{name}]({name})\n" for name in shown)
    write_text(folder / "report.md", f"# RetinaNet on {data}\n\n{text}\n\n{NOTES}\n{links}")
    systems = {system: scores.get(system, results[system]) for system in SYSTEMS}
    write_json(folder / "results.json", {"settings": settings, "systems": systems, "training boxes": counts})
    saved = ", ".join(str(folder / name) for name in ("report.md", "results.json", *shown))
    print(f"\n{text}\n\n{NOTES}\nSaved: {saved}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m experiments.detection.demo``."""
    parser = argparse.ArgumentParser(prog="python -m experiments.detection.demo", description=__doc__)
    parser.add_argument("--data", choices=list(DATA), default="digits", help="what to detect")
    parser.add_argument("--folder", type=Path, help="where everything goes (default: demo/DATA)")
    parser.add_argument("--iterations", type=positive, help="of each system (default: digits 800, trees 400)")
    parser.add_argument("--seed", type=positive, default=1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with program("demo", "stopped; start it again to resume"):
        folder = options.folder or Path("demo") / options.data
        demo(options.data, folder, options.iterations or DATA[options.data]["iterations"], options.seed)
    print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
