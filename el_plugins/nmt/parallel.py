"""Read parallel text from plain, gzip or TSV files, and check it."""

from __future__ import annotations

import gzip
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

# Sentences by part (train, valid, names of the test sets) and language; a part's languages are parallel.
Splits = dict[str, dict[str, list[str]]]
SYMBOLS = {"<s>", "</s>", "<pad>", "<unk>"}  # of fairseq's Dictionary
EXAMPLES = 3  # shown for each fault


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in ``.gz``.

    Raises:
        ValueError: it is not a complete gzip file.
    """
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}") from error


def read_lines(path: Path) -> list[str]:
    """The stripped lines of a UTF-8 file, plain or ``.gz``, split only at line feeds.

    Raises:
        ValueError: it is not UTF-8 text, or not a complete gzip file.
    """
    return [line.strip() for line in read_raw_lines(path)]


def read_raw_lines(path: Path) -> list[str]:
    """Like :func:`read_lines`, not stripped: a tab at an end stands before or after an empty sentence."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    # fairseq also ends a line at a carriage return.
    lines = text.replace("\r\n", "\n").replace("\r", " ").split("\n")
    return lines if lines[-1].strip() else lines[:-1]


def read_pairs(prefix: Path, source: str, target: str) -> dict[str, list[str]]:
    """Sentences by language: of ``prefix.source`` and ``prefix.target``, or of one TSV file.

    Args:
        prefix: of two files, with the language as suffix and ``.gz`` after it if compressed; or the name of a
            TSV file with a source column, a target column and possibly others.

    Raises:
        ValueError: a file is missing or empty, they have unequal numbers of lines, or a line has no tab.
    """
    if prefix.is_file():
        rows = [line.split("\t") for line in read_raw_lines(prefix)]
        if short := [number for number, row in enumerate(rows, start=1) if len(row) < 2]:
            raise ValueError(
                f"{prefix}: {len(short)} of {len(rows)} lines have no tab between {source} and {target}, "
                f"such as line {short[0]}"
            )
        text = {source: [row[0].strip() for row in rows], target: [row[1].strip() for row in rows]}
    else:
        text = {language: read_lines(find_side(prefix, language)) for language in (source, target)}
    counts = {language: len(lines) for language, lines in text.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise ValueError(f"{prefix} must have equally many sentences in both languages, got {counts}")
    return text


def find_side(prefix: Path, language: str) -> Path:
    """``prefix.language``, else ``prefix.language.gz``; ValueError if neither exists."""
    plain = prefix.with_name(f"{prefix.name}.{language}")
    for path in (plain, plain.with_name(plain.name + ".gz")):
        if path.is_file():
            return path
    raise ValueError(f"neither {plain} nor {plain}.gz exists, and {prefix} is not a TSV file")


def check_sides(splits: Splits) -> None:
    """Raise ValueError, with counts and examples, if one side of a pair is empty."""
    for part, text in splits.items():
        for language, lines in text.items():
            if empty := [number for number, line in enumerate(lines, start=1) if not line]:
                where = ", ".join(map(str, empty[:EXAMPLES]))
                raise ValueError(
                    f"{part}: {len(empty)} of {len(lines)} lines of {language} are empty, such as {where}"
                )


def check_symbols(splits: Splits) -> None:
    """Raise ValueError, with counts and an example, if the text has fairseq's control symbols as words."""
    for part, text in splits.items():
        for language, lines in text.items():
            if found := [line for line in lines if SYMBOLS & set(line.split())]:
                raise ValueError(
                    f"{len(found)} of {len(lines)} sentences of {part}.{language} contain one of "
                    f"{', '.join(sorted(SYMBOLS))} as a word, which fairseq takes for its own symbol, "
                    f"such as: {found[0]}"
                )


def normal(sentence: str) -> str:
    """The sentence without case and spacing, its accents composed, for comparisons."""
    return " ".join(unicodedata.normalize("NFC", sentence.casefold()).split())


def shared_sentences(splits: Splits) -> dict[str, dict[str, list[str]]]:
    """Sentences of each test set that are also in ``train``, compared after :func:`normal`."""
    known = {language: set(map(normal, lines)) for language, lines in splits["train"].items()}
    return {
        part: {
            language: [line for line in lines if normal(line) in known[language]]
            for language, lines in text.items()
        }
        for part, text in splits.items()
        if part not in ("train", "valid")
    }


def describe_shared(splits: Splits) -> str:
    """The result of :func:`shared_sentences` in words, with counts and examples; empty if there are none."""
    shared = []
    for part, text in shared_sentences(splits).items():
        for language, lines in text.items():
            if lines:
                total = len(splits[part][language])
                examples = "; ".join(_unique(lines)[:EXAMPLES])
                shared.append(f"{len(lines)} of {total} sentences of {part}.{language}, such as: {examples}")
    return "\n".join(shared)


def _unique(lines: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(lines))
