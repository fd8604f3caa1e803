"""A run of the translation benchmark: its files, and what its training and its scores depend on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_plugins.nmt.benchmark.corpus import reference_digest, subset_digest, training_digest
from el_plugins.nmt.benchmark.settings import Benchmark, System
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import read_json, write_json
from el_plugins.utils.runs import BenchmarkRun


@dataclass(frozen=True)
class Run(BenchmarkRun):
    """A system with a seed; a job completes it."""

    benchmark: Benchmark
    system: System

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

    @property
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

    def discard_outdated(self) -> None:
        """Delete a result that was evaluated with other settings: its training stays valid."""
        if self.result.exists():
            record = self.read_result()
            if DIVERGED not in record and record.get("evaluation") != self.evaluation_settings():
                self.result.unlink()

    def progress(self, stage: str, **figures: float) -> None:
        """Record what the run is doing, for the progress bar."""
        path = self.folder / "progress.json"
        before = read_json(path) if path.exists() else {}
        write_json(path, {"updates": before.get("updates", 0), "stage": stage, **figures})
