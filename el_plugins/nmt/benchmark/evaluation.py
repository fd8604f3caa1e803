"""Translations of a trained run, their scores, and measures of its target tokens."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from el_plugins.nmt.benchmark.runs import VALID, Run
from el_plugins.nmt.benchmark.tokens import target_tokens
from el_plugins.nmt.benchmark.training import PLUGIN, average
from el_plugins.nmt.score import score_file
from el_plugins.utils import commands
from el_plugins.utils.files import atomic_file, read_json, write_json
from el_plugins.utils.versions import versions


def evaluate(run: Run, lock: int) -> list[dict[str, Any]]:
    """Translate and score with every kind of checkpoint; only missing translations are made.

    Returns:
        The scores by checkpoint and test subset.
    """
    _discard_outdated(run)
    subsets = run.benchmark.data.references
    scores = [_score(run, name, subset, None, lock) for name in ("best", "averaged") for subset in subsets]
    if run.benchmark.length_penalties:
        penalty = _tune(run, lock)
        scores += [_score(run, "averaged_tuned", subset, penalty, lock) for subset in subsets]
    return scores


def measure_tokens(run: Run) -> None:
    """Measure the validation set's target tokens with the averaged checkpoint, unless that is done."""
    path = run.folder / "tokens.npz"
    if not path.exists():
        average(run)
        run.progress("measuring margins")
        measures: dict[str, Any] = target_tokens(run.averaged, run.benchmark.data.folder)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **measures)


def generate_command(run: Run, model: Path, subset: str, penalty: float | None) -> list[str]:
    """fairseq-generate's command for a subset."""
    data = run.benchmark.data
    command = ["fairseq-generate", data.folder, "--user-dir", str(PLUGIN), "--path", str(model)]
    command += ["--source-lang", data.source, "--target-lang", data.target, "--gen-subset", subset]
    command += ["--required-batch-size-multiple", "1", *shlex.split(run.benchmark.generate)]
    if "fairseq" in versions(["fairseq"]):  # the official one, which fails on padded batches with torch 2
        command += ["--batch-size", "1"]
    command += ["--remove-bpe", data.remove_bpe] if data.remove_bpe else []
    return command + ([] if penalty is None else ["--lenpen", f"{penalty:g}"])


def _discard_outdated(run: Run) -> None:
    """Delete translations that were made with other settings or of other sentences."""
    settings = run.translation_settings()
    run.translations.mkdir(exist_ok=True)
    path = run.translations / "settings.json"
    recorded = read_json(path) if path.exists() else {}
    for translation in run.translations.glob("*.txt"):
        subset = translation.name.split(".", 1)[1].rpartition(".txt")[0].partition(".lenpen")[0]
        if recorded.get(subset) != settings.get(subset):
            translation.unlink()
    write_json(path, settings)


def _generate(run: Run, checkpoint: str, subset: str, penalty: float | None, lock: int) -> Path:
    suffix = "" if penalty is None else f".lenpen{penalty:g}"
    output = run.translations / f"{checkpoint}.{subset}{suffix}.txt"
    if not output.exists():
        if checkpoint == "best":
            model = run.checkpoints / "checkpoint_best.pt"
        else:
            average(run)
            model = run.averaged
        run.progress(f"translating {subset}")
        with atomic_file(output) as temporary:
            commands.run(generate_command(run, model, subset, penalty), temporary, pass_fds=(lock,))
    return output


def _tune(run: Run, lock: int) -> float:
    """The length penalty with the highest tokenised BLEU on the validation set; the first if they tie."""
    scores = {}
    for penalty in run.benchmark.length_penalties:
        output = _generate(run, "averaged", VALID, penalty, lock)
        scores[penalty] = score_file(output, language=run.benchmark.data.target)["bleu_tokenised"]["score"]
    return max(scores, key=lambda penalty: scores[penalty])


def _score(run: Run, checkpoint: str, subset: str, penalty: float | None, lock: int) -> dict[str, Any]:
    output = _generate(run, checkpoint, subset, penalty, lock)
    data = run.benchmark.data
    scores = score_file(output, Path(data.references[subset]), data.detokenizer, data.target)
    row = {"checkpoint": checkpoint, "subset": subset, "translations": output.name, "length_penalty": penalty}
    return {**row, **scores}
