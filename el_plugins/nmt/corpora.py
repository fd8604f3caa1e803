"""From sentences to a binarised fairseq corpus: Moses tokens, joint BPE, fairseq-preprocess."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, List

from sacremoses import MosesTokenizer
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tqdm import tqdm

from el_plugins.workflow.commands import run

# Sentences by part (train, valid, test, test1, ...) and language; a part's languages are parallel.
Splits = Dict[str, Dict[str, List[str]]]


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to work in that gets its name ``folder`` when all went well: it is never half there."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.rename(folder)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file, a line each, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def tokenise(splits: Splits, *, escape: bool) -> Splits:
    """Moses tokens, by each language's rules.

    Args:
        escape: write &, <, >, |, quotes and brackets as entities, as Moses' own script does.
    """
    tokenizers = {language: MosesTokenizer(lang=language) for text in splits.values() for language in text}
    return {
        part: {
            language: [
                tokenizers[language].tokenize(line, return_str=True, escape=escape)
                for line in tqdm(lines, desc=f"tokenising {part}.{language}", unit="sentence")
            ]
            for language, lines in text.items()
        }
        for part, text in splits.items()
    }


def split_words(splits: Splits, merges: int, codes: Path) -> Splits:
    """Subwords by BPE, its ``merges`` operations learned on all languages of ``train``, kept in ``codes``."""
    with codes.open("w", encoding="utf-8") as file:
        learn_bpe([line for lines in splits["train"].values() for line in lines], file, merges)
    with codes.open(encoding="utf-8") as file:
        bpe = BPE(file)
    return {
        part: {
            language: [
                bpe.process_line(line)
                for line in tqdm(lines, desc=f"splitting {part}.{language}", unit="sentence")
            ]
            for language, lines in text.items()
        }
        for part, text in splits.items()
    }


def binarise(splits: Splits, source: str, target: str, folder: Path, *, joined: bool) -> None:
    """Write ``folder/subwords`` and, by fairseq-preprocess, ``folder/bin``.

    Args:
        joined: one dictionary for both languages, which sharing all embeddings needs.
    """
    for part, text in splits.items():
        for language, lines in text.items():
            write_lines(folder / "subwords" / f"{part}.{language}", lines)
    command: list[str | Path] = ["fairseq-preprocess", "--source-lang", source, "--target-lang", target]
    command += ["--joined-dictionary"] if joined else []
    tests = ",".join(str(folder / "subwords" / part) for part in splits if part.startswith("test"))
    command += ["--trainpref", folder / "subwords" / "train", "--validpref", folder / "subwords" / "valid"]
    command += ["--testpref", tests, "--destdir", folder / "bin"]
    run(command, folder / "preprocess.log")
