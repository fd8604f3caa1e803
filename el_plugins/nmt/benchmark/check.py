"""Checks of everything that a benchmark needs, before the first update."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from el_plugins.nmt.benchmark.corpus import pair
from el_plugins.nmt.benchmark.evaluation import generate_command
from el_plugins.nmt.benchmark.launch import Machines
from el_plugins.nmt.benchmark.runs import VALID, Run
from el_plugins.nmt.benchmark.settings import Data
from el_plugins.nmt.benchmark.training import command
from el_plugins.nmt.parallel import read_raw_lines
from el_plugins.nmt.scoring import metrics

# Refused by name, and why.
_FORGETS = "a training that is interrupted would forget it at every start"
TRAINING = {
    "stop_time_hours": "a slower loss would get fewer updates than its baseline",
    "disable_validation": "the best checkpoint and the curves need it",
    "reset_optimizer": _FORGETS,
    "reset_meters": _FORGETS,
    "reset_dataloader": _FORGETS,
    "reset_lr_scheduler": _FORGETS,
}
GENERATION = {
    "quiet": "the translations are read from its output",
    "results_path": "the translations are read from its output",
    "tokenizer": "data has detokenizer, which references are compared by",
}


def check(runs: Sequence[Run]) -> None:
    """Parse the arguments of every system, open the subsets of the corpus, and count the references.

    Raises:
        RuntimeError: fairseq, or sacrebleu's tokeniser for the target language, is not installed.
        ValueError: fairseq refuses an argument, a subset is missing or damaged, a sentence is too long to be
            translated, or a file of references has another number of lines; the message names it.
    """
    try:
        from fairseq import options
    except ImportError as error:
        raise RuntimeError(
            f"fairseq is not installed ({error}): pip install 'el_plugins[fairseq,nmt]'"
        ) from error
    benchmark = runs[0].benchmark
    metrics(benchmark.data.target)  # raises where its tokeniser is missing
    training, models = [], []
    for run in {run.system.name: run for run in runs}.values():
        words = command(run, Machines())
        start = words.index(benchmark.data.folder)
        parsed = _parse(options.get_training_parser, words[start:], f"the training of {run.system.name}")
        _check_training(parsed, run)
        training.append(_limits(parsed, int(parsed.max_tokens_valid or 0)))  # a string if it was given
        models.append(_limits(parsed, 0))
    words = generate_command(runs[0], Path("model.pt"), VALID, None)[1:]
    parsed = _parse(options.get_generation_parser, words, "generate")
    _refuse(parsed, "generate", GENERATION)
    generation = [*models, _limits(parsed, parsed.max_tokens or 0)]
    sentence_lengths(benchmark.data, "train")  # training leaves long sentences out
    check_lengths(sentence_lengths(benchmark.data, VALID), VALID, [*training, *generation])
    for subset, reference in benchmark.data.references.items():
        lengths = sentence_lengths(benchmark.data, subset)
        check_lengths(lengths, subset, generation)
        sentences, lines = len(lengths[benchmark.data.source]), len(read_raw_lines(Path(reference)))
        if sentences != lines:
            raise ValueError(
                f"{reference} must have a line for each of the {sentences} sentences of {subset}, got {lines}"
            )


def _check_training(parsed: argparse.Namespace, run: Run) -> None:
    """Raise ValueError for arguments by which a run would not be what the report says."""
    average, name = run.benchmark.average, run.system.name
    if 0 < parsed.keep_last_epochs < average:
        raise ValueError(
            f"--keep-last-epochs must be at least {average}, which are averaged, "
            f"got {parsed.keep_last_epochs} for {name}"
        )
    if average > 1 and parsed.no_epoch_checkpoints:
        raise ValueError(f"--no-epoch-checkpoints of {name} leaves no {average} epochs to average: drop it")
    if parsed.restore_file != "checkpoint_last.pt":
        raise ValueError(
            f"--restore-file {parsed.restore_file} of {name} would be loaded again after every interruption: "
            "take --finetune-from-model"
        )
    _refuse(parsed, f"the training of {name}", TRAINING)


def _refuse(parsed: argparse.Namespace, what: str, refused: Mapping[str, str]) -> None:
    """Raise ValueError if an argument of ``refused`` is given; its values say why."""
    for name, reason in refused.items():
        if getattr(parsed, name, None):
            raise ValueError(f"{what} must leave out --{name.replace('_', '-')}: {reason}")


def _parse(make_parser: Callable[[], Any], words: Sequence[str], what: str) -> argparse.Namespace:
    """Parse fairseq's arguments as its command does; it prints its complaint and exits."""
    from fairseq import options

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return options.parse_args_and_arch(make_parser(), list(words))
    except SystemExit:
        reason = complaint.getvalue().strip().rpartition("error: ")[2]
        raise ValueError(f"fairseq refuses the arguments of {what}: {reason}") from None
    except Exception as error:  # types of fairseq's arguments raise whatever they like
        raise ValueError(f"fairseq refuses the arguments of {what}: {error}") from error


def _limits(parsed: argparse.Namespace, tokens: int) -> tuple[float, float]:
    """The longest source and target that fairseq takes, in subwords, in batches of ``tokens`` (0: any)."""
    given = {"max_source_positions": math.inf, "max_target_positions": math.inf, **vars(parsed)}
    source = math.inf if given.get("truncate_source") else given["max_source_positions"]
    return min(source, tokens or math.inf), min(given["max_target_positions"], tokens or math.inf)


def check_lengths(lengths: dict[str, np.ndarray], subset: str, limits: Sequence[tuple[float, float]]) -> None:
    """Raise ValueError if ``subset`` has a sentence that fairseq would stop at, after the training perhaps.

    Args:
        lengths: result of :func:`sentence_lengths`.
        limits: the longest source and target that each command takes, the end of the sentence included.
    """
    for (language, side), limit in zip(lengths.items(), map(min, zip(*limits))):
        if (long := np.flatnonzero(side > limit)).size:
            raise ValueError(
                f"{subset} has {len(long)} of {len(side)} sentences of {language} that are longer than "
                f"{limit:g} subwords, such as line {long[0] + 1} with {side[long[0]]}: shorten them, or "
                "raise --max-source-positions, --max-target-positions and --max-tokens in train and generate"
            )


def sentence_lengths(data: Data, subset: str) -> dict[str, np.ndarray]:
    """The lengths of a binarised subset's sentences in subwords, by language, source first.

    Raises:
        ValueError: it is missing, damaged, or its sides differ in length.
    """
    from fairseq.data import Dictionary, data_utils

    lengths: dict[str, np.ndarray] = {}
    for language in (data.source, data.target):
        prefix = Path(data.folder) / f"{subset}.{pair(data)}.{language}"
        try:
            words = Dictionary.load(str(Path(data.folder) / f"dict.{language}.txt"))
            dataset = data_utils.load_indexed_dataset(str(prefix), words)
        except Exception as error:
            raise ValueError(f"cannot open the subset {subset}, {prefix}: {error}") from error
        if dataset is None:
            raise ValueError(f"{data.folder} has no subset {subset}: {prefix}.idx does not exist")
        lengths[language] = np.array(dataset.sizes)  # a copy: closing the dataset unmaps its own
    counts = list(map(len, lengths.values()))
    if counts[0] != counts[1]:
        raise ValueError(f"the subset {subset} must have as many sentences in both languages, got {counts}")
    return lengths
