"""From raw sentence pairs to a binarised fairseq corpus: split, Moses tokens, joint BPE, preprocess."""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from sacremoses import MosesTokenizer
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tqdm import tqdm

from el_plugins.nmt import catalogues
from el_plugins.workflow.commands import run

SPLIT_SEED = 20220222


def prepare(
    pairs: Sequence[tuple[str, str]], language: str, folder: Path, merges: int = 6000, held_out: int = 1000
) -> None:
    """Write ``folder`` with ``text/`` (raw), ``bpe/``, ``codes`` and the binarised ``bin/``.

    The folder appears only when it is complete: it is made under another name and renamed.

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
    valid_end = held_out + held_out // 2
    splits = {
        "test": shuffled[:held_out],
        "valid": shuffled[held_out:valid_end],
        "train": shuffled[valid_end:],
    }

    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "text").mkdir(parents=True)
    (unfinished / "bpe").mkdir()
    tokens: dict[str, list[str]] = {}
    for side, code in enumerate(("en", language)):
        tokenizer = MosesTokenizer(lang=code)
        for split, part in splits.items():
            lines = [pair[side] for pair in part]
            _write(unfinished / "text" / f"{split}.{code}", lines)
            tokens[f"{split}.{code}"] = [
                tokenizer.tokenize(line, return_str=True, escape=False)
                for line in tqdm(lines, desc=f"tokenising {split}.{code}", unit="sentence")
            ]

    codes = unfinished / "codes"
    with codes.open("w", encoding="utf-8") as file:
        learn_bpe(tokens["train.en"] + tokens[f"train.{language}"], file, merges)
    with codes.open(encoding="utf-8") as file:
        bpe = BPE(file)
    for name, lines in tokens.items():
        progress = tqdm(lines, desc=f"splitting {name}", unit="sentence")
        _write(unfinished / "bpe" / name, [bpe.process_line(line) for line in progress])

    prefixes = [word for split in splits for word in (f"--{split}pref", unfinished / "bpe" / split)]
    command = ["fairseq-preprocess", "--source-lang", language, "--target-lang", "en", "--joined-dictionary"]
    run([*command, *prefixes, "--destdir", unfinished / "bin"], unfinished / "preprocess.log")
    unfinished.rename(folder)


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.prepare``: the corpus of message catalogues."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.prepare", description=catalogues.__doc__)
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
