"""Parallel text of one's own, ready for fairseq and el-nmt-benchmark: ``el-nmt-prepare``.

PREFIX stands for two files with a sentence a line, PREFIX.SOURCE and PREFIX.TARGET, each plain or with .gz
after it; or it is the name of one TSV file, a pair of sentences a line. FOLDER is made whole or not at all;
edit the benchmark.yaml in it and hand it to el-nmt-benchmark.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt.corpora import prepare
from el_plugins.nmt.parallel import Splits, check_sides, describe_shared, read_pairs
from el_plugins.nmt.recipe import SUBWORDS, Recipe


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line; its ``test`` holds prefixes by name."""
    parser = argparse.ArgumentParser(prog="el-nmt-prepare", description=__doc__)
    parser.add_argument("--source", required=True, help="language translated from: de")
    parser.add_argument("--target", required=True, help="language translated to: en")
    parser.add_argument("--train", required=True, type=Path, metavar="PREFIX", help="training part")
    parser.add_argument("--valid", required=True, type=Path, metavar="PREFIX", help="validation part")
    parser.add_argument(
        "--test",
        required=True,
        action="extend",
        nargs="+",
        metavar="NAME=PREFIX",
        help="test sets, one or more; reports call them by NAME",
    )
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="made from all this")
    parser.add_argument(
        "--tokenizer", choices=["moses", "none"], default="moses", help="default: %(default)s"
    )
    parser.add_argument("--lowercase", action="store_true", help="all text in lower case, references too")
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
        help="subwords and a dictionary for each language, not one of both together",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        default=250,
        help="leave out training pairs with more tokens on a side; of SentencePiece's pieces where it splits "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-ratio",
        type=float,
        default=2.5,
        help="leave out training pairs with a side so many times as long as the other (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-overlap", action="store_true", help="go on where training and test share sentences"
    )
    options = parser.parse_args(arguments)
    # argparse gives everything after --test to it.
    if options.folder is None and "=" not in options.test[-1]:
        options.folder = Path(options.test.pop())
    if options.folder is None:
        parser.error("FOLDER is missing: name it after the test sets")
    tests = [test.partition("=") for test in options.test]
    for name, _, prefix in tests:
        if not name or not prefix or name in ("train", "valid"):
            parser.error(f"--test must be NAME=PREFIX, NAME neither train nor valid, got {name + _ + prefix}")
    options.test = {name: Path(prefix) for name, _, prefix in tests}
    if len(options.test) < len(tests):
        parser.error(f"--test must have names all different, got {', '.join(name for name, _, _ in tests)}")
    return options


def check_overlap(splits: Splits, allow: bool) -> None:
    """Say what training and test sets share, on stderr.

    Raises:
        ValueError: they share a sentence and are not allowed to.
    """
    if shared := describe_shared(splits):
        if not allow:
            raise ValueError(
                f"the training part has sentences of a test set (--allow-overlap goes on):\n{shared}"
            )
        print(f"in the training part, too:\n{shared}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-nmt-prepare``."""
    options = parse_arguments(arguments)
    prefixes = {"train": options.train, "valid": options.valid, **options.test}
    try:
        recipe = Recipe(
            options.source,
            options.target,
            moses=options.tokenizer == "moses",
            max_length=options.max_length,
            max_ratio=options.max_ratio,
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
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"el-nmt-prepare: {error}") from error


if __name__ == "__main__":
    main()
