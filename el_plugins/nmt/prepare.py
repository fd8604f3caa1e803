"""The corpus of message catalogues, ready for fairseq: ``python -m el_plugins.nmt.prepare``."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt import catalogues
from el_plugins.nmt.corpora import appearing, binarise, split_words, tokenise, write_lines

SPLIT_SEED = 20220222


def prepare(
    pairs: Sequence[tuple[str, str]], language: str, folder: Path, merges: int = 6000, held_out: int = 1000
) -> None:
    """Write ``folder`` with ``text/`` (raw), ``subwords/``, ``codes`` and the binarised ``bin/``.

    Args:
        pairs: (English, ``language``) sentences, none twice; shuffled with a fixed seed.
        merges: BPE operations, learned on both sides of the training part together.
        held_out: sentences in ``test``; half as many in ``valid``.

    Raises:
        ValueError: too few pairs to hold any out.
    """
    if len(pairs) <= 2 * held_out:
        raise ValueError(f"{len(pairs)} pairs are too few to hold out {held_out} and {held_out // 2}")
    shuffled = list(pairs)
    random.Random(SPLIT_SEED).shuffle(shuffled)
    ends = {"test": held_out, "valid": held_out + held_out // 2, "train": len(shuffled)}
    splits, start = {}, 0
    for part, end in ends.items():
        english, foreign = zip(*shuffled[start:end])
        splits[part] = {"en": list(english), language: list(foreign)}
        start = end
    with appearing(folder) as unfinished:
        for part, text in splits.items():
            for code, lines in text.items():
                write_lines(unfinished / "text" / f"{part}.{code}", lines)
        subwords = split_words(tokenise(splits, escape=False), merges, unfinished / "codes")
        binarise(subwords, language, "en", unfinished, joined=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.prepare``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.prepare", description=__doc__)
    parser.add_argument("language", choices=["de", "fr"], help="translated from, to English")
    parser.add_argument("folder", type=Path, help="made unless it exists")
    options = parser.parse_args(arguments)
    downloads = options.folder.parent.parent / "downloads"
    try:
        if not options.folder.exists():
            wheels = catalogues.download(downloads, options.language)
            prepare(catalogues.corpus(wheels, options.language), options.language, options.folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"prepare: {error}") from error


if __name__ == "__main__":
    main()
