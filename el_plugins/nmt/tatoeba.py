"""Prepare Tatoeba's short sentences for fairseq: ``python -m el_plugins.nmt.tatoeba``.

German or French to English, from the pairs of tatoeba.org that https://www.manythings.org/anki offers
(CC-BY 2.0): Moses tokens, lower case, 10,000 BPE operations learned on both sides. A sentence may have
several translations, so English sentences are held out, not pairs: 2,000 for the test and 1,000 for
validation, each with one translation. No sentence of these pairs, on either side, is used for training.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt.corpora import prepare
from el_plugins.nmt.parallel import Splits, normal
from el_plugins.nmt.recipe import Recipe
from el_plugins.utils.archives import read_members
from el_plugins.utils.downloads import download_pinned
from el_plugins.utils.files import sha256
from el_plugins.utils.program import program

URL = "https://www.manythings.org/anki/{}-eng.zip"
CODES = {"de": "deu", "fr": "fra"}
# The releases that our figures were measured on; the site replaces its archives from time to time.
DIGESTS = {
    "de": "71750f704aeb6b0a01fe57341c3051b9efd98f63b61ee266b2c2283d1b80cb71",
    "fr": "161c93f18da3a7e6df611ed961426613260de8af06ccf8c79c977afe5135ac44",
}
HELD_OUT = {"test": 2000, "valid": 1000}


def read(archive: Path, source: str) -> list[tuple[str, str]]:
    """(English, ``source``) pairs of an archive, in its order, without repetitions.

    Raises:
        ValueError: it is damaged, or another archive.
    """
    name = f"{CODES[source]}.txt"
    members = list(read_members(archive, re.compile(rf"(^|/){re.escape(name)}$")).values())
    try:
        text = members[0].decode("utf-8") if members else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{archive}: {name} is not UTF-8 text: {error}") from error
    rows = [line.split("\t") for line in text.split("\n")]
    pairs = [(row[0].strip(), row[1].strip()) for row in rows if len(row) > 1]
    if not pairs:
        raise ValueError(f"{archive} is not the English-{source} archive: it has no file {name} with pairs")
    return list(dict.fromkeys(pair for pair in pairs if all(pair)))


def split(pairs: Sequence[tuple[str, str]], source: str, held_out: dict[str, int] | None = None) -> Splits:
    """Split into parts that share no sentence on either side, ignoring case and spacing.

    Sentences are held out in the order of their SHA-256, so the choice does not depend on the others.

    Args:
        held_out: number of English sentences by part (default: :data:`HELD_OUT`).

    Raises:
        ValueError: there are too few sentences.
    """
    held_out = HELD_OUT if held_out is None else held_out
    first: dict[str, tuple[str, str]] = {}
    for pair in pairs:
        first.setdefault(normal(pair[0]), pair)
    ordered = sorted(first, key=lambda sentence: hashlib.sha256(sentence.encode()).hexdigest())
    parts: dict[str, list[tuple[str, str]]] = {}
    known: tuple[set[str], set[str]] = (set(), set())
    candidates = iter(ordered)
    for part, count in held_out.items():
        chosen = parts[part] = []
        for sentence in candidates:
            # A translation shared with another held-out sentence would be in two parts.
            if normal(first[sentence][1]) not in known[1]:
                chosen.append(first[sentence])
                known[0].add(sentence)
                known[1].add(normal(first[sentence][1]))
            if len(chosen) == count:
                break
    parts["train"] = [p for p in pairs if normal(p[0]) not in known[0] and normal(p[1]) not in known[1]]
    if not parts["train"] or any(len(parts[part]) < count for part, count in held_out.items()):
        raise ValueError(f"{len(first)} English sentences are too few to hold out {sum(held_out.values())}")
    return {
        part: {"en": [english for english, _ in chosen], source: [foreign for _, foreign in chosen]}
        for part, chosen in parts.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.tatoeba``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.tatoeba", description=__doc__)
    parser.add_argument("source", choices=CODES, help="source language; the target is English")
    parser.add_argument("folder", type=Path, help="output folder; fairseq's data are in its bin/")
    parser.add_argument(
        "--archive",
        type=Path,
        help="deu-eng.zip or fra-eng.zip, downloaded if missing (default: downloads beside FOLDER)",
    )
    parser.add_argument("--trust-checksum", metavar="SHA256", help="take a newer archive with this checksum")
    options = parser.parse_args(arguments)
    name = f"{CODES[options.source]}-eng.zip"
    archive = options.archive or options.folder.parent / "downloads" / name
    with program("tatoeba"):
        pinned = DIGESTS[options.source]
        download_pinned(URL.format(CODES[options.source]), archive, pinned, options.trust_checksum)
        if sha256(archive) != pinned:
            print(f"{archive} is another release than that of our figures: scores are not comparable")
        splits = split(read(archive, options.source), options.source)
        prepare(splits, Recipe(options.source, "en", lowercase=True), options.folder)


if __name__ == "__main__":
    main()
