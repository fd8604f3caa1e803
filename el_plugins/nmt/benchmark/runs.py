"""A run of the translation benchmark: its files, and what its training and its scores depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_plugins.nmt.benchmark.corpus import reference_digest, subset_digest, training_digest
from el_plugins.nmt.benchmark.settings import Benchmark, System
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import read_json, write_json
from el_plugins.utils.runs import BenchmarkRun

VALID = "valid"


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

    def translation_settings(self) -> dict[str, list[Any]]:
        """What the translations of each subset depend on beside the model."""
        data = self.benchmark.data
        return {
            subset: [self.benchmark.generate, data.remove_bpe, subset_digest(data, subset)]
            for subset in dict.fromkeys([*data.references, VALID])
        }

    def is_outdated(self) -> bool:
        """Whether the result was evaluated with other settings: its training stays valid.

        Raises:
            ValueError: it was, and the model is no longer there to be evaluated again.
        """
        if not self.result.exists():
            return False
        record = self.read_result()
        if DIVERGED in record or record.get("evaluation") == self.evaluation_settings():
            return False
        if not self._can_be_evaluated(record.get("evaluation", {})):
            raise ValueError(
                f"{self.folder} was translated or scored with other settings or data, and its checkpoints "
                "are gone: take another folder, or put the settings back"
            )
        return True

    def _can_be_evaluated(self, before: Mapping[str, Any]) -> bool:
        """Whether the model is there, or every translation of the evaluation ``before`` still holds."""
        if not self.trained.exists():
            return False
        if (self.checkpoints / "checkpoint_best.pt").exists():
            return True
        path, wanted = self.translations / "settings.json", self.translation_settings()
        made = read_json(path) if path.exists() else {}
        same_penalties = before.get("length_penalties") == self.benchmark.length_penalties
        return same_penalties and all(made.get(subset) == wanted[subset] for subset in wanted)

    def progress(self, stage: str, **figures: float) -> None:
        """Record what the run is doing, for the progress bar."""
        path = self.folder / "progress.json"
        before = read_json(path) if path.exists() else {}
        write_json(path, {"updates": before.get("updates", 0), "stage": stage, **figures})


def all_runs(benchmark: Benchmark, output: Path) -> list[Run]:
    """Every system with every seed, in the folder ``output``; all systems of a seed before the next seed."""
    return [Run(benchmark, system, seed, output) for seed in benchmark.seeds for system in benchmark.systems]
