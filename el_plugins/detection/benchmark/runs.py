"""One run of the detection benchmark: a system with a seed, trained to the end and evaluated.

A stopped run resumes from its last checkpoint. A diverged run is complete: its result is the iteration.
"""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from detectron2.config import CfgNode
from tqdm import tqdm

from detectron2_heads.train_net import Trainer, build_config
from el_plugins.detection.benchmark.machines import Machines
from el_plugins.detection.benchmark.settings import Benchmark, System
from el_plugins.utils.commands import run
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import read_json, sha256, write_json
from el_plugins.utils.runs import BenchmarkRun
from el_plugins.utils.versions import versions

PROGRESS = re.compile(r"iter: (\d+).*?total_loss: (\S+)")
PACKAGES = ("el_plugins", "torch", "torchvision", "detectron2", "sal-detectron2", "pycocotools", "numpy")
# Config keys that do not change the result.
NOT_DECIDING = re.compile(
    r"OUTPUT_DIR|MODEL\.(WEIGHTS|DEVICE)|SOLVER\.CHECKPOINT_PERIOD|TEST\.EVAL_PERIOD|VIS_PERIOD|CUDNN_BENCHMARK"
    r"|DATALOADER\.NUM_WORKERS|DATASETS\.(TRAIN|TEST)"
)


@dataclass(frozen=True)
class Run(BenchmarkRun):
    """A system with a seed; calling it does what is missing."""

    trainer: ClassVar[str] = "detectron2_heads.train_net"

    benchmark: Benchmark
    system: System
    gpus: int  # of each machine
    machines: Machines
    data: dict[str, str]  # fingerprints by split

    @cached_property
    def config(self) -> CfgNode:
        """The whole config, scaled to the GPUs in use.

        Raises:
            ValueError: detectron2 has no such option; the message names the system.
        """
        options = self.benchmark.config_options(self.system, self.seed)
        try:
            cfg = build_config(self.benchmark.config_file(self.system), options)
            scaled = Trainer.auto_scale_workers(cfg, processes := self.gpus * self.machines.count)
        except (AssertionError, KeyError, ValueError) as error:
            reason = error.args[0] if error.args else error
            raise ValueError(f"the config of system {self.system.name}: {reason}") from error
        if (batch := scaled.SOLVER.IMS_PER_BATCH) % processes:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH {batch} of {self.system.name} is not a multiple of {processes} GPUs"
            )
        return scaled

    @cached_property
    def training_settings(self) -> dict[str, Any]:
        """What the result depends on."""
        deciding = {key: value for key, value in flat(self.config).items() if not NOT_DECIDING.fullmatch(key)}
        weights = self.config.MODEL.WEIGHTS
        is_file = Path(weights).is_file() or (self.benchmark.weights and "://" not in weights)
        digest = sha256(Path(weights)) if is_file else weights
        values = {"system": self.system.name, **self.data, "weights": digest, **deciding}
        if (processes := self.gpus * self.machines.count) > 1:  # each has its own loss normalizer
            values["processes"] = processes
        return json.loads(json.dumps(values))  # tuples become lists, as when the file is read again

    def __call__(self) -> None:
        """Train and evaluate, unless that is done; on all machines at once.

        Raises:
            RuntimeError: the training failed.
        """
        if self.machines.rank:
            if self.machines.decide(f"{self.name} starts"):
                self._train()
            return
        with ExitStack() as stack:
            try:
                lock = stack.enter_context(self.locked())
                self.check()  # again: another process may have held the lock
            except (OSError, ValueError):
                self.machines.decide(f"{self.name} starts", False)
                raise
            if self.machines.decide(f"{self.name} starts", not self.result.exists()):
                started = time.monotonic()
                outcome = self._train(lock)
                minutes = (time.monotonic() - started) / 60
                record = {"system": self.system.name, "seed": self.seed, **outcome}
                write_json(self.result, {**record, "minutes": minutes, "versions": versions(PACKAGES)})

    def _train(self, *pass_fds: int) -> dict[str, Any]:
        """What train_net wrote: COCO's AP under ``bbox``, or the iteration at which the loss diverged."""
        results = self.folder / "results.json"
        main = self.machines.rank == 0
        if main:
            results.unlink(missing_ok=True)  # it may come from an evaluation without training
        log = self.folder / ("train.log" if main else f"train.machine{self.machines.rank}.log")
        iterations = self.config.SOLVER.MAX_ITER
        print(f"training {self.name}: see {log}", flush=True)
        with tqdm(total=iterations, desc=self.name, unit="iteration", disable=None) as bar:

            def watch(line: str) -> None:
                if match := PROGRESS.search(line):
                    bar.n = int(match[1]) + 1
                    bar.set_postfix_str(f"loss {match[2]}")

            try:
                run(self.command(), log, watch, append=True, pass_fds=pass_fds)
            except RuntimeError:
                if not (main and results.exists()):  # there is one if the training diverged
                    raise
        if not main:
            return {}
        outcome = read_json(results)
        if DIVERGED not in outcome and "bbox" not in outcome:
            raise RuntimeError(
                f"{log}: the training ended without COCO's AP of boxes, got {', '.join(outcome)}"
            )
        return outcome

    def command(self) -> list[str]:
        """The training's command line."""
        data = self.benchmark.data
        words = [sys.executable, "-m", self.trainer, "--resume"]
        words += ["--num-gpus", str(self.gpus), *self.machines.launch]
        words += ["--config-file", self.benchmark.config_file(self.system)]
        for part in (data.train, data.test):
            words += ["--dataset", part.name, part.annotations, part.images]
        options = self.benchmark.config_options(self.system, self.seed)
        return [*words, *options, "OUTPUT_DIR", str(self.folder)]


def flat(cfg: CfgNode, prefix: str = "") -> dict[str, Any]:
    """Values of a config by dotted key."""
    values: dict[str, Any] = {}
    for key, value in cfg.items():
        values.update(flat(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else {prefix + key: value})
    return values
