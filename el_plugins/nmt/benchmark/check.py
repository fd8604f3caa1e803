"""Checks of everything that a benchmark needs, before the first update."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from el_plugins.nmt.benchmark.corpus import pair
from el_plugins.nmt.benchmark.evaluation import generate_command
from el_plugins.nmt.benchmark.launch import Machines
from el_plugins.nmt.benchmark.runs import VALID, Run
from el_plugins.nmt.benchmark.settings import Data
from el_plugins.nmt.benchmark.training import command
from el_plugins.nmt.score import read_lines


def check(runs: Sequence[Run]) -> None:
    """Parse the arguments of every system, open the subsets of the corpus, and count the references.

    Raises:
        RuntimeError: fairseq is not installed.
        ValueError: fairseq refuses an argument, a subset is missing or damaged, or a file of references has
            another number of lines; the message names it.
    """
    try:
        from fairseq import options
    except ImportError as error:
        raise RuntimeError(
            f"fairseq is not installed ({error}): pip install 'el_plugins[fairseq,nmt]'"
        ) from error
    benchmark = runs[0].benchmark
    for run in {run.system.name: run for run in runs}.values():
        words = command(run, Machines())
        start = words.index(benchmark.data.folder)
        parsed = _parse(options.get_training_parser, words[start:], f"the training of {run.system.name}")
        if 0 < parsed.keep_last_epochs < benchmark.average:
            raise ValueError(
                f"--keep-last-epochs must be at least {benchmark.average}, which are averaged, "
                f"got {parsed.keep_last_epochs} for {run.system.name}"
            )
    words = generate_command(runs[0], Path("model.pt"), VALID, None)[1:]
    _parse(options.get_generation_parser, words, "generate")
    for subset in ("train", VALID):
        count_sentences(benchmark.data, subset)
    for subset, reference in benchmark.data.references.items():
        sentences, lines = count_sentences(benchmark.data, subset), len(read_lines(Path(reference)))
        if sentences != lines:
            raise ValueError(
                f"{reference} must have a line for each of the {sentences} sentences of {subset}, got {lines}"
            )


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


def count_sentences(data: Data, subset: str) -> int:
    """The number of sentence pairs of a binarised subset.

    Raises:
        ValueError: it is missing, damaged, or its sides differ in length.
    """
    from fairseq.data import Dictionary, data_utils

    counts = []
    for language in (data.source, data.target):
        prefix = Path(data.folder) / f"{subset}.{pair(data)}.{language}"
        try:
            words = Dictionary.load(str(Path(data.folder) / f"dict.{language}.txt"))
            dataset = data_utils.load_indexed_dataset(str(prefix), words)
        except Exception as error:
            raise ValueError(f"cannot open the subset {subset}, {prefix}: {error}") from error
        if dataset is None:
            raise ValueError(f"{data.folder} has no subset {subset}: {prefix}.idx does not exist")
        counts.append(len(dataset))
    if counts[0] != counts[1]:
        raise ValueError(f"the subset {subset} must have as many sentences in both languages, got {counts}")
    return counts[0]
