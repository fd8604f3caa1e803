"""One run of the benchmark: a system with a seed, trained, averaged, translated and scored.

Every step leaves a file when it is done and is passed over when that file is there, so that a run that was
killed, timed out or requeued goes on where it was. A training that diverges ends its run: the step is the
result, and no score.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from submitit.helpers import DelayedSubmission

from el_plugins.checkpoints.average import average_checkpoints, save_atomically
from el_plugins.checkpoints.choose import last_checkpoints
from el_plugins.checkpoints.repair import repair_last
from el_plugins.checkpoints.safe_loading import load_checkpoint
from el_plugins.nmt.benchmark.settings import Benchmark, System
from el_plugins.nmt.benchmark.tokens import target_tokens
from el_plugins.nmt.score import score_file
from el_plugins.nmt.training_log import (
    diverged_at,
    ended_by_divergence,
    gpu_memory,
    training_cost,
    training_line,
    validations,
)
from el_plugins.utils.commands import memory_of_children, run
from el_plugins.utils.divergence import DIVERGED, DivergedError
from el_plugins.utils.files import check_settings, write_json, write_text
from el_plugins.utils.locks import locked

PLUGIN = Path(__file__).resolve().parents[2]
PACKAGES = ("el_plugins", "torch", "fairseq", "ve-fairseq", "sacrebleu", "sacremoses", "numpy")


@dataclass(frozen=True)
class Run:
    """A system with a seed, in a folder of its own under ``output``; calling it does what is missing."""

    benchmark: Benchmark
    system: System
    seed: int
    output: Path

    @property
    def name(self) -> str:
        """For people: system/seed."""
        return f"{self.system.name}/seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where everything of this run goes."""
        return self.output / "runs" / self.system.name / f"seed{self.seed}"

    @property
    def result(self) -> Path:
        """The file whose presence says that the run is complete."""
        return self.folder / "result.json"

    @property
    def failure(self) -> Path:
        """The file that says why the run failed."""
        return self.folder / "failed.txt"

    def __call__(self) -> None:
        """Do what is missing; an error is left in :attr:`failure`, too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock") as lock:
            self.failure.unlink(missing_ok=True)
            try:
                self.check()
                if not self.result.exists():
                    self._execute(lock)
            except Exception as error:
                write_text(self.failure, f"{type(error).__name__}: {error}\n")
                raise

    def _execute(self, lock: int) -> None:
        """Train, average, translate, score and measure."""
        try:
            self._train(lock)
        except DivergedError as error:
            record = {"system": self.system.name, "seed": self.seed, DIVERGED: error.step}
            write_json(self.result, {**record, "versions": versions()})
            return
        averaged = self._average()
        models = {"best": self.folder / "checkpoints" / "checkpoint_best.pt", "averaged": averaged}
        scores = [
            self._score(name, path, subset, None, lock)
            for name, path in models.items()
            for subset in self.benchmark.data.references
        ]
        if self.benchmark.length_penalties:
            penalty = self._tune(averaged, lock)
            scores += [
                self._score("averaged_tuned", averaged, subset, penalty, lock)
                for subset in self.benchmark.data.references
            ]
        self._measure_tokens(averaged)
        seconds, speed = training_cost(self.log)
        memory = json.loads((self.folder / "trained").read_text(encoding="utf-8") or "{}")
        write_json(
            self.result,
            {
                "system": self.system.name,
                "seed": self.seed,
                "scores": scores,
                "curve": validations(self.log),
                "training": {"minutes": seconds / 60, "words_per_second": speed, **memory},
                "versions": versions(),
            },
        )

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts in the queue again when the time limit is near."""
        return DelayedSubmission(self)

    def check(self) -> None:
        """Raise ValueError if the folder holds something made with other settings or other data."""
        if self.folder.exists():
            check_settings(self.benchmark.fingerprint(self.system, self.seed), self.folder)

    @property
    def log(self) -> Path:
        """fairseq-train's output."""
        return self.folder / "train.log"

    def arguments(self) -> list[str]:
        """The training's arguments after the data folder; the later ones win."""
        ours = ["--user-dir", str(PLUGIN), "--source-lang", self.benchmark.data.source]
        ours += ["--target-lang", self.benchmark.data.target, "--criterion", self.system.criterion]
        # A loss with a bonus may be negative and says nothing across systems. With its default batch-size
        # multiple of 8, fairseq leaves out the last sentences of a set.
        ours += ["--best-checkpoint-metric", "nll_loss", "--required-batch-size-multiple", "1"]
        # fairseq makes batches by the epoch that it starts in and keeps them; made anew every epoch, they are
        # the same when a training was stopped and goes on.
        ours += ["--update-epoch-batch-itr", "True"]
        ours += ["--keep-last-epochs", str(self.benchmark.average)]
        given = shlex.split(self.benchmark.train) + shlex.split(self.system.arguments)
        placed = ["--seed", str(self.seed), "--save-dir", str(self.folder / "checkpoints")]
        return [*ours, *given, *placed, "--log-format", "json", "--log-interval", "10"]

    def _train(self, lock: int) -> None:
        trained = self.folder / "trained"
        if not trained.exists():
            repair_last(self.folder / "checkpoints")

            def watch(line: str) -> None:
                figures = training_line(line)
                if (step := diverged_at(figures)) is not None:
                    raise DivergedError(step)
                if "num_updates" in figures:
                    speed = float(figures.get("wps", 0))
                    self._progress("training", updates=int(figures["num_updates"]), words_per_second=speed)

            command = ["fairseq-train", self.benchmark.data.folder, *self.arguments()]
            try:
                run(command, self.log, watch, append=True, pass_fds=(lock,))
            except RuntimeError:
                if ended_by_divergence(self.log):
                    raise DivergedError(self._crashed_at()) from None
                raise
            # Of the last start alone where the training was stopped in between.
            write_json(trained, {"memory_gib": gpu_memory(self.log) or memory_of_children()})

    def _crashed_at(self) -> int:
        """The update that fairseq gave up at, as the checkpoint that it then saves says; that is deleted."""
        crash = self.folder / "checkpoints" / "crash.pt"
        done = load_checkpoint(crash)["optimizer_history"][-1]["num_updates"]
        crash.unlink()
        return done + 1

    def _average(self) -> Path:
        averaged = self.folder / "averaged.pt"
        if not averaged.exists():
            self._progress("averaging")
            checkpoints = self.folder / "checkpoints"
            # A short training has fewer epochs than are to be averaged, and may end before its first.
            epochs = len(list(checkpoints.glob("checkpoint[0-9]*.pt")))
            number = min(self.benchmark.average, epochs)
            last = checkpoints / "checkpoint_last.pt"
            paths = last_checkpoints(checkpoints, number) if number else [last]
            save_atomically(average_checkpoints(paths), averaged)
        return averaged

    def _generate(self, path: Path, name: str, subset: str, penalty: float | None, lock: int) -> Path:
        suffix = "" if penalty is None else f".lenpen{penalty:g}"
        output = self.folder / "translations" / f"{name}.{subset}{suffix}.txt"
        if not output.exists():
            self._progress(f"translating {subset}")
            output.parent.mkdir(exist_ok=True)
            data = self.benchmark.data
            command = ["fairseq-generate", data.folder, "--user-dir", PLUGIN, "--path", path]
            command += ["--source-lang", data.source, "--target-lang", data.target, "--gen-subset", subset]
            command += ["--required-batch-size-multiple", "1", *shlex.split(self.benchmark.generate)]
            command += ["--remove-bpe", data.remove_bpe] if data.remove_bpe else []
            command += [] if penalty is None else ["--lenpen", f"{penalty:g}"]
            unfinished = output.with_suffix(".unfinished")
            run([str(word) for word in command], unfinished, pass_fds=(lock,))
            unfinished.rename(output)
        return output

    def _tune(self, averaged: Path, lock: int) -> float:
        """The length penalty of the highest tokenised BLEU on the validation set; the first of equals."""
        scores = {}
        for penalty in self.benchmark.length_penalties:
            output = self._generate(averaged, "averaged", "valid", penalty, lock)
            scores[penalty] = score_file(output)["bleu_tokenised"]["score"]
        return max(scores, key=lambda penalty: scores[penalty])

    def _score(self, name: str, path: Path, subset: str, penalty: float | None, lock: int) -> dict[str, Any]:
        output = self._generate(path, name, subset, penalty, lock)
        data = self.benchmark.data
        scores = score_file(output, Path(data.references[subset]), data.detokenizer, data.target)
        row = {"checkpoint": name, "subset": subset, "translations": output.name, "length_penalty": penalty}
        return {**row, **scores}

    def _measure_tokens(self, averaged: Path) -> None:
        path = self.folder / "tokens.npz"
        if not path.exists():
            self._progress("measuring margins")
            unfinished = self.folder / "tokens.unfinished.npz"
            measured: dict[str, Any] = target_tokens(averaged, self.benchmark.data.folder)
            np.savez_compressed(unfinished, **measured)
            unfinished.rename(path)

    def _progress(self, stage: str, **figures: float) -> None:
        path = self.folder / "progress.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_json(path, {"updates": before.get("updates", 0), "stage": stage, **figures})


def versions() -> dict[str, str]:
    """Releases of what the results depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_result(path: Path) -> dict[str, Any]:
    """What a run wrote when it was complete."""
    return json.loads(path.read_text(encoding="utf-8"))
