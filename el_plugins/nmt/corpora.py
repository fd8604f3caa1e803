"""From parallel text to a binarised fairseq corpus and a settings file of el-nmt-benchmark for it."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from sacremoses import MosesTokenizer
from tqdm import tqdm

from el_plugins.nmt.parallel import Splits
from el_plugins.nmt.subwords import split_pieces, split_words
from el_plugins.workflow.commands import run
from el_plugins.workflow.results import check_settings, write_text

NAME = re.compile(r"[\w-]+")
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
)


@dataclass(frozen=True)
class Recipe:
    """What is made of the text, in this order.

    Args:
        moses: Moses tokens, by each language's rules; else the text's own words.
        escape: write &, <, >, |, quotes and brackets as entities, as Moses' own script does.
        max_length: tokens of the longer side of a training pair; of SentencePiece's pieces where it splits.
        max_ratio: of the lengths of a training pair's sides.
        valid_every: hold out every so many of these pairs as ``valid``, where the text has no such part.
        lowercase: of tokens and plain references alike.
        subwords: ``"bpe"`` or ``"sentencepiece"``.
        size: BPE operations, or SentencePiece's pieces.
        separate: subwords learned for each language by itself.
        joined: one dictionary for both languages, which sharing all embeddings needs.
    """

    source: str
    target: str
    moses: bool = True
    escape: bool = False
    max_length: int = 250
    max_ratio: float = 2.5
    valid_every: int | None = None
    lowercase: bool = False
    subwords: str = "bpe"
    size: int = 10_000
    separate: bool = False
    joined: bool = True

    def __post_init__(self) -> None:
        for what, number in (("max_length", self.max_length), ("size", self.size)):
            if number < 1:
                raise ValueError(f"{what} must be 1 or more, got {number}")
        if not self.max_ratio >= 1:
            raise ValueError(f"max_ratio must be 1 or more, got {self.max_ratio:g}")
        if self.source == self.target:
            raise ValueError(f"source and target must be two languages, got {self.source} for both")
        if self.separate and self.joined:
            raise ValueError("separate subwords have no joined dictionary")

    def fits(self, source: str, target: str) -> bool:
        """Whether a training pair, in tokens, has sides that are not empty and of fitting lengths."""
        short, long = sorted((len(source.split()), len(target.split())))
        return short >= 1 and long <= self.max_length and long <= self.max_ratio * short


def prepare(splits: Splits, recipe: Recipe, folder: Path) -> None:
    """Make ``folder`` from ``splits``, whole or not at all; if it is there already, compare its settings.

    It holds ``text/`` (plain references and their sources), ``tokens/`` (the same in tokens), ``subwords/``,
    the binarised ``bin/``, ``benchmark.yaml``, and ``settings.json`` with a digest of the text.

    Args:
        splits: ``train``, ``valid`` unless the recipe holds it out, and any number of test sets.

    Raises:
        RuntimeError: fairseq-preprocess failed.
        ValueError: ``folder`` is another's or was made with other settings, a name will not do, or no
            training pair is left.
    """
    tests = [part for part in splits if part not in ("train", "valid")]
    for name in (*tests, recipe.source, recipe.target):
        if not NAME.fullmatch(name):
            raise ValueError(f"names of test sets and languages are letters, digits, - and _, got {name!r}")
    if "," in str(folder):
        raise ValueError(f"fairseq-preprocess takes a comma for the end of a name, got {folder}")
    settings = {**asdict(recipe), "text": {part: digest(text) for part, text in splits.items()}}
    if folder.exists():
        if not (folder / "settings.json").exists():
            raise ValueError(f"{folder} exists and was not made by el-nmt-prepare: take another folder")
        check_settings(settings, folder)
        print(f"{folder} is there already, made with the same settings from the same text: nothing to do")
        return
    with appearing(folder) as unfinished:
        make(splits, recipe, unfinished)
        check_settings(settings, unfinished)
    print(f"made {folder}; edit {folder / 'benchmark.yaml'} and hand it to el-nmt-benchmark")


def digest(text: dict[str, list[str]]) -> str:
    """SHA-256 of the sentences of a part, languages included."""
    whole = hashlib.sha256()
    for language, lines in text.items():
        whole.update("".join(f"{language}\t{line}\n" for line in lines).encode())
    return whole.hexdigest()


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to work in that gets its name ``folder`` when all went well: it is never half there."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.rename(folder)


def make(splits: Splits, recipe: Recipe, folder: Path) -> None:
    """Everything of :func:`prepare` but its checks."""
    pieces = recipe.subwords == "sentencepiece"
    tokens = tokenise(splits, escape=recipe.escape) if recipe.moses else dict(splits)
    if not pieces:
        tokens["train"] = fitting(tokens["train"], recipe)
    if recipe.valid_every:
        tokens["train"], tokens["valid"] = hold_out(tokens["train"], recipe.valid_every)
    if recipe.lowercase:
        tokens, splits = lower(tokens), lower(splits)
    for part in tokens:
        if part != "train":
            write_part(folder / "tokens", part, tokens[part])
            write_part(folder / "text", part, splits.get(part, {}))
    if pieces:
        words = split_pieces(tokens, recipe.size, folder / "sentencepiece", separate=recipe.separate)
        words["train"] = fitting(words["train"], recipe)
    else:
        words = split_words(tokens, recipe.size, folder / "codes", separate=recipe.separate)
    binarise(words, recipe, folder)
    write_settings(recipe, [part for part in tokens if part not in ("train", "valid")], folder)


def tokenise(splits: Splits, *, escape: bool) -> Splits:
    """Moses tokens, by each language's rules."""
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


def fitting(text: dict[str, list[str]], recipe: Recipe) -> dict[str, list[str]]:
    """The pairs that fit; how many do not is printed.

    Raises:
        ValueError: none is left.
    """
    pairs = list(zip(*text.values()))
    chosen = [pair for pair in pairs if recipe.fits(*pair)]
    if not chosen:
        raise ValueError(
            f"none of {len(pairs)} training pairs has 1 to {recipe.max_length} tokens on both sides and a "
            f"ratio of lengths up to {recipe.max_ratio:g}"
        )
    if len(chosen) < len(pairs):
        print(f"{len(pairs) - len(chosen)} of {len(pairs)} training pairs left out for their lengths")
    return {language: list(side) for language, side in zip(text, zip(*chosen))}


def hold_out(text: dict[str, list[str]], every: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The pairs but every so many, and those.

    Raises:
        ValueError: there are too few to hold any out.
    """
    held_out = {language: lines[every - 1 :: every] for language, lines in text.items()}
    if not all(held_out.values()):
        raise ValueError(f"too few sentences of fitting lengths to hold out one of {every}")
    rest = {lang: [x for n, x in enumerate(lines, start=1) if n % every] for lang, lines in text.items()}
    return rest, held_out


def lower(splits: Splits) -> Splits:
    """All text in lower case."""
    return {
        part: {language: [line.lower() for line in lines] for language, lines in text.items()}
        for part, text in splits.items()
    }


def write_part(folder: Path, part: str, text: dict[str, list[str]]) -> None:
    """Write ``folder/part.language``, a line each."""
    for language, lines in text.items():
        write_lines(folder / f"{part}.{language}", lines)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file, a line each, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def binarise(splits: Splits, recipe: Recipe, folder: Path) -> None:
    """Write ``folder/subwords`` and, by fairseq-preprocess, ``folder/bin`` with test sets by their names."""
    subwords, numbered, named = folder / "subwords", folder / "bin.unfinished", folder / "bin"
    for part, text in splits.items():
        write_part(subwords, part, text)
    tests = [part for part in splits if part not in ("train", "valid")]
    command: list[str | Path] = ["fairseq-preprocess", "--source-lang", recipe.source]
    command += ["--target-lang", recipe.target, "--destdir", numbered]
    command += ["--joined-dictionary"] if recipe.joined else []
    command += ["--trainpref", subwords / "train", "--validpref", subwords / "valid"]
    command += ["--testpref", ",".join(str(subwords / part) for part in tests)] if tests else []
    run(command, folder / "preprocess.log")
    # fairseq numbers several test sets: test, test1, test2, ...
    names = {f"test{number or ''}": name for number, name in enumerate(tests)}
    named.mkdir()
    for path in numbered.iterdir():
        part, rest = path.name.split(".", maxsplit=1)
        path.rename(named / f"{names.get(part, part)}.{rest}")
    numbered.rmdir()


def write_settings(recipe: Recipe, tests: Sequence[str], folder: Path) -> None:
    """Write ``folder/benchmark.yaml``, to be edited for el-nmt-benchmark."""
    template = TEMPLATES.get_template("benchmark.yaml.jinja")
    write_text(folder / "benchmark.yaml", template.render(recipe=recipe, tests=tests or ["valid"]))
