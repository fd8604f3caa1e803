"""Prepare your own parallel text for fairseq and el-nmt-benchmark: ``el-nmt-prepare``.

PREFIX names two files with one sentence per line, PREFIX.SOURCE and PREFIX.TARGET, plain or with .gz
appended; or it names one TSV file with one sentence pair per line. FOLDER is complete or absent. Edit the
benchmark.yaml in it and run el-nmt-benchmark on it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt.parallel import Splits, check_sides, describe_shared, read_pairs
from el_plugins.nmt.recipe import SUBWORDS, Recipe
from el_plugins.utils.program import program


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; ``test`` maps names to prefixes."""
    parser = argparse.ArgumentParser(prog="el-nmt-prepare", description=__doc__)
    parser.add_argument("--source", required=True, help="source language, such as de")
    parser.add_argument("--target", required=True, help="target language, such as en")
    parser.add_argument("--train", required=True, type=Path, metavar="PREFIX", help="training part")
    parser.add_argument("--valid", required=True, type=Path, metavar="PREFIX", help="validation part")
    parser.add_argument(
        "--test",
        required=True,
        action="extend",
        nargs="+",
        metavar="NAME=PREFIX",
        help="one or more test sets; NAME is used in reports",
    )
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="output folder (required)")
    parser.add_argument(
        "--tokenizer", choices=["moses", "none"], default="moses", help="default: %(default)s"
    )
    parser.add_argument("--lowercase", action="store_true", help="lower-case all text, references included")
    parser.add_argument(
        "--subwords",
        choices=SUBWORDS,
        default="bpe",
        help="subword-nmt's BPE, or SentencePiece's (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=10_000, help="BPE operations, or SentencePiece's pieces (default: 10000)"
    )
    parser.add_argument(
        "--separate",
        action="store_true",
        help="subwords and a dictionary for each language instead of shared ones",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        default=250,
        help="drop training pairs with more tokens on a side; with SentencePiece, pieces "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-ratio",
        type=float,
        default=2.5,
        help="drop training pairs whose sides differ more in length; inf for any (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-overlap", action="store_true", help="accept sentences that training and test share"
    )
    options = parser.parse_args(arguments)
    # argparse assigns all words after --test to it.
    if options.folder is None and "=" not in options.test[-1]:
        options.folder = Path(options.test.pop())
    if options.folder is None:
        parser.error("FOLDER is missing: give it after the test sets")
    tests = [test.partition("=") for test in options.test]
    for name, _, prefix in tests:
        if not name or not prefix or name in ("train", "valid"):
            parser.error(f"--test must be NAME=PREFIX, NAME neither train nor valid, got {name + _ + prefix}")
    options.test = {name: Path(prefix) for name, _, prefix in tests}
    if len(options.test) < len(tests):
        parser.error(f"--test must have names all different, got {', '.join(name for name, _, _ in tests)}")
    return options


def check_overlap(splits: Splits, allow: bool) -> None:
    """Report on stderr the sentences that training and test sets share.

    Raises:
        ValueError: there are some, and ``allow`` is False.
    """
    if shared := describe_shared(splits):
        if not allow:
            raise ValueError(
                f"training contains sentences of a test set (--allow-overlap accepts them):\n{shared}"
            )
        print(f"also in the training part:\n{shared}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-nmt-prepare``."""
    options = parse_arguments(arguments)
    prefixes = {"train": options.train, "valid": options.valid, **options.test}
    with program("el-nmt-prepare", extra="fairseq,nmt"):
        from el_plugins.nmt.corpora import prepare  # needs the extra, which --help does not

        recipe = Recipe(
            options.source,
            options.target,
            moses=options.tokenizer == "moses",
            max_length=options.max_length,
            max_ratio=None if options.max_ratio == math.inf else options.max_ratio,
            lowercase=options.lowercase,
            subwords=options.subwords,
            size=options.size,
            separate=options.separate,
            joined=not options.separate,
        )
        splits = {part: read_pairs(path, recipe.source, recipe.target) for part, path in prefixes.items()}
        check_sides(splits)
        check_overlap(splits, options.allow_overlap)
        prepare(splits, recipe, options.folder)


if __name__ == "__main__":
    main()
