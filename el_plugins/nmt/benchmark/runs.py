"""A run of the benchmark: a system with a seed, its files, and the guard that keeps settings from mixing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_plugins.nmt.benchmark.corpus import reference_digest, subset_digest, training_digest
from el_plugins.nmt.benchmark.settings import Benchmark, System
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import check_settings, read_json, write_json


@dataclass(frozen=True)
class Run:
    """A system with a seed, in its own folder under ``output``."""

    benchmark: Benchmark
    system: System
    seed: int
    output: Path

    @property
    def name(self) -> str:
        """For messages: system/seed."""
        return f"{self.system.name}/seed{self.seed}"

    @property
    def folder(self) -> Path:
        """All files of this run."""
        return self.output / "runs" / self.system.name / f"seed{self.seed}"

    @property
    def result(self) -> Path:
        """Exists if the run is complete."""
        return self.folder / "result.json"

    @property
    def failure(self) -> Path:
        """Why the run failed."""
        return self.folder / "failed.txt"

    @property
    def trained(self) -> Path:
        """Exists if the training is complete; holds what it cost."""
        return self.folder / "trained"

    @property
    def checkpoints(self) -> Path:
        """fairseq-train's folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def averaged(self) -> Path:
        """The averaged checkpoint."""
        return self.folder / "averaged.pt"

    @property
    def translations(self) -> Path:
        """Folder of fairseq-generate's outputs."""
        return self.folder / "translations"

    @property
    def log(self) -> Path:
        """fairseq-train's output."""
        return self.folder / "train.log"

    def training_settings(self) -> dict[str, Any]:
        """What the trained model depends on."""
        corpus = {"corpus": training_digest(self.benchmark.data)}
        return {**corpus, **self.benchmark.training_settings(self.system, self.seed)}

    def evaluation_settings(self) -> dict[str, Any]:
        """What the scores of a trained model depend on; they are made again if it changes."""
        data = self.benchmark.data
        return {
            "generate": self.benchmark.generate,
            "length_penalties": self.benchmark.length_penalties,
            "remove_bpe": data.remove_bpe,
            "detokenizer": data.detokenizer,
            "subsets": {
                subset: [subset_digest(data, subset), reference_digest(data, subset)]
                for subset in data.references
            },
        }

    def check(self) -> None:
        """Raise ValueError if the folder holds a training with other settings or other data."""
        if self.folder.exists():
            check_settings(self.training_settings(), self.folder)

    def discard_outdated(self) -> None:
        """Delete a result that was evaluated with other settings: its training stays valid."""
        if self.result.exists():
            record = read_result(self.result)
            if DIVERGED not in record and record.get("evaluation") != self.evaluation_settings():
                self.result.unlink()

    def progress(self, stage: str, **figures: float) -> None:
        """Record what the run is doing, for the progress bar."""
        path = self.folder / "progress.json"
        before = read_json(path) if path.exists() else {}
        write_json(path, {"updates": before.get("updates", 0), "stage": stage, **figures})


def read_result(path: Path) -> dict[str, Any]:
    """What a complete run wrote."""
    return read_json(path)
