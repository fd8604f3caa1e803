"""Subwords learned on the training part: BPE of subword-nmt, or SentencePiece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import sentencepiece
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tqdm import tqdm

from el_plugins.nmt.parallel import Splits

# From lines and the file of the model to a function that splits a line.
Learn = Callable[[Sequence[str], Path], Callable[[str], str]]


def split_words(splits: Splits, merges: int, codes: Path, *, separate: bool = False) -> Splits:
    """Split into subwords by BPE, with ``merges`` operations learned on ``train`` and written to ``codes``.

    Args:
        separate: learn one per language, written to ``codes.LANGUAGE``, instead of a shared one.

    Raises:
        ValueError: no pair of characters occurs twice in ``train``.
    """

    def learn(lines: Sequence[str], path: Path) -> Callable[[str], str]:
        if not any(len(word) > 1 for line in lines for word in line.split()):
            raise ValueError("the training text has no word of two characters, so there is no BPE to learn")
        with path.open("w", encoding="utf-8") as file:
            learn_bpe(lines, file, merges)
        with path.open(encoding="utf-8") as file:
            if len(file.readlines()) < 2:  # of which the first is a comment
                raise ValueError("the training text is too small for BPE: no pair of characters occurs twice")
            file.seek(0)
            return BPE(file).process_line

    return _split(splits, learn, codes, separate)


def split_pieces(splits: Splits, count: int, model: Path, *, separate: bool = False) -> Splits:
    """Like :func:`split_words`, with SentencePiece BPE of ``count`` pieces, or as many as the text has.

    Raises:
        ValueError: ``train`` has more characters than ``count``.
    """

    def learn(lines: Sequence[str], path: Path) -> Callable[[str], str]:
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(line for line in lines if line),
                model_prefix=str(path),
                vocab_size=count,
                hard_vocab_limit=False,
                character_coverage=1.0,
                model_type="bpe",
                minloglevel=1,
            )
        except RuntimeError as error:  # more characters than pieces
            raise ValueError(f"SentencePiece cannot learn {count} pieces of this text: {error}") from error
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{path}.model")
        return lambda line: " ".join(processor.encode(line, out_type=str))

    return _split(splits, learn, model, separate)


def _split(splits: Splits, learn: Learn, path: Path, separate: bool) -> Splits:
    """Learn on ``train``, from all languages or from each one, and split every line."""
    # Both libraries split at blanks only; fairseq splits at every space, such as French's before a colon.
    splits = {
        part: {language: [" ".join(line.split()) for line in lines] for language, lines in text.items()}
        for part, text in splits.items()
    }
    train = splits["train"]
    if separate:
        split = {name: learn(lines, path.with_name(f"{path.name}.{name}")) for name, lines in train.items()}
    else:
        split = dict.fromkeys(train, learn([line for lines in train.values() for line in lines], path))
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
