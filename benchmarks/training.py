"""Words a second and peak memory of whole trainings, into training.csv: python -m benchmarks.training FOLDER.

The demo's model and corpus with fairseq's label_smoothed_cross_entropy and with encouraging loss, with and
without the fused output layer; at the demo's vocabulary and at 32,000 entries, the dictionary filled up with
words that do not occur. Trainings take turns.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.measure import RESULTS, write
from el_plugins.nmt.benchmark.corpus import prepare
from el_plugins.nmt.benchmark.settings import read_settings
from el_plugins.nmt.benchmark.training import PLUGIN
from el_plugins.nmt.training_log import training_line
from el_plugins.utils.commands import find_command
from el_plugins.utils.program import positive

SYSTEMS = {
    "fairseq LS-CE": ["--criterion", "label_smoothed_cross_entropy"],
    "EL": ["--criterion", "encouraging_ls"],
    "EL, fused output layer": ["--criterion", "encouraging_ls", "--fused-output-layer"],
}
DEMO = Path(__file__).parents[1] / "examples" / "demo.yaml"
VOCABULARY = 32_000
WARMED_UP = 8  # updates before speed counts: allocators warm up, and code is compiled


def enlarge(data: Path, folder: Path) -> Path:
    """A copy of the binarised corpus whose dictionaries have :data:`VOCABULARY` entries."""
    shutil.copytree(data, folder)
    for path in folder.glob("dict.*.txt"):
        lines = path.read_text(encoding="utf-8").splitlines()
        missing = VOCABULARY - 4 - len(lines)  # fairseq adds four of its own
        lines += [f"filler{number} 0" for number in range(missing)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def demo_arguments() -> list[str]:
    """The demo's arguments of fairseq-train, but for the one that fairseq's own criterion lacks."""
    words = shlex.split(read_settings(DEMO).train)
    place = words.index("--smoothing")
    return words[:place] + words[place + 2 :]


def train(system: str, data: Path, updates: int, cpu: bool) -> dict[str, float]:
    """Words a second after warming up, and peak resident bytes, of one training."""
    command = [
        find_command("fairseq-train"),
        data,
        "--user-dir",
        PLUGIN,
        *SYSTEMS[system],
        *demo_arguments(),
    ]
    command += [
        "--max-update",
        updates,
        "--seed",
        1,
        "--log-format",
        "json",
        "--log-interval",
        1,
        "--no-save",
    ]
    command += ["--disable-validation", *(["--cpu"] if cpu else [])]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        lines = log.read().splitlines()
    if status:
        raise RuntimeError("\n".join([f"fairseq-train with {system} failed:", *lines[-15:]]))
    steps = [figures for figures in map(training_line, lines) if "wps" in figures][WARMED_UP:]
    words = [float(figures["wpb"]) for figures in steps]
    seconds = [count / float(figures["wps"]) for count, figures in zip(words, steps)]
    return {"words": sum(words) / sum(seconds), "memory": usage.ru_maxrss * 1024}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS, help="default: %(default)s")
    parser.add_argument("--updates", type=positive, default=30)
    parser.add_argument("--repeats", type=positive, default=2)
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    options = parser.parse_args()
    demo = read_settings(DEMO)
    prepare(demo.data, DEMO.parent)
    data = Path(demo.data.folder)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpora = {
            "demo": data,
            str(VOCABULARY): enlarge(data, Path(folder, "large")),
        }
        runs = [(corpus, system) for corpus in corpora for _ in range(options.repeats) for system in SYSTEMS]
        measured: dict[tuple[str, str], list[dict[str, float]]] = {run: [] for run in runs}
        for corpus, system in tqdm(runs, unit="training", disable=None):
            measured[corpus, system].append(train(system, corpora[corpus], options.updates, options.cpu))
    lines: list[dict[str, Any]] = []
    for (corpus, system), trainings in measured.items():
        words = statistics.median(figures["words"] for figures in trainings)
        memory = statistics.median(figures["memory"] for figures in trainings)
        base = measured[corpus, next(iter(SYSTEMS))]
        lines.append(
            {
                "vocabulary": corpus,
                "system": system,
                "words/s": round(words),
                "slowest": round(min(figures["words"] for figures in trainings)),
                "fastest": round(max(figures["words"] for figures in trainings)),
                "speed ratio": round(words / statistics.median(figures["words"] for figures in base), 3),
                "peak MiB": round(memory / 2**20),
                "memory ratio": round(memory / statistics.median(figures["memory"] for figures in base), 3),
            }
        )
    write(options.folder / "training.csv", lines)


if __name__ == "__main__":
    main()
