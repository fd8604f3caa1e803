"""Subwords learned on the training part: BPE of subword-nmt, or SentencePiece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import sentencepiece
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tqdm import tqdm

from el_plugins.nmt.parallel import Splits


def split_words(splits: Splits, merges: int, codes: Path, *, separate: bool = False) -> Splits:
    """Split into subwords by BPE, with ``merges`` operations learned on ``train`` and written to ``codes``.

    Args:
        separate: learn one per language, written to ``codes.LANGUAGE``, instead of a shared one.
    """

    def learn(lines: Sequence[str], path: Path) -> Callable[[str], str]:
        with path.open("w", encoding="utf-8") as file:
            learn_bpe(lines, file, merges)
        with path.open(encoding="utf-8") as file:
            bpe = BPE(file)
        # It splits at blanks only, and fairseq at every space, such as French's before a colon.
        return lambda line: bpe.process_line(" ".join(line.split()))

    return _apply(splits, _learn(splits, learn, codes, separate))


def split_pieces(splits: Splits, count: int, model: Path, *, separate: bool = False) -> Splits:
    """Like :func:`split_words`, with SentencePiece BPE of ``count`` pieces, or as many as the text has."""

    def learn(lines: Sequence[str], path: Path) -> Callable[[str], str]:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for line in lines if line),
            model_prefix=str(path),
            vocab_size=count,
            hard_vocab_limit=False,
            character_coverage=1.0,
            model_type="bpe",
            minloglevel=1,
        )
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{path}.model")
        return lambda line: " ".join(processor.encode(line, out_type=str))

    return _apply(splits, _learn(splits, learn, model, separate))


def _learn(splits, learn, path: Path, separate: bool) -> dict[str, Callable[[str], str]]:
    """The function that splits a line, by language."""
    train = splits["train"]
    if separate:
        return {
            language: learn(lines, path.with_name(f"{path.name}.{language}"))
            for language, lines in train.items()
        }
    return dict.fromkeys(train, learn([line for lines in train.values() for line in lines], path))


def _apply(splits: Splits, split: dict[str, Callable[[str], str]]) -> Splits:
    return {
        part: {
            language: [
                split[language](line)
                for line in tqdm(lines, desc=f"splitting {part}.{language}", unit="sentence", disable=None)
            ]
            for language, lines in text.items()
        }
        for part, text in splits.items()
    }
