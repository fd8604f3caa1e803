"""From parallel text to a binarised fairseq corpus, with a settings file for el-nmt-benchmark."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import jinja2

from el_plugins.nmt.benchmark.settings import POOLED
from el_plugins.nmt.cleaning import fitting, hold_out, lower, tokenise
from el_plugins.nmt.parallel import Splits, check_symbols
from el_plugins.nmt.recipe import Recipe
from el_plugins.nmt.subwords import split_pieces, split_words
from el_plugins.utils.commands import run
from el_plugins.utils.files import atomic_dir, check_settings, write_text
from el_plugins.utils.locks import locked

NAME = re.compile(r"\w[\w-]*")
SHARD = re.compile(r"(train|valid)\d+")
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
)


def prepare(splits: Splits, recipe: Recipe, folder: Path) -> None:
    """Make ``folder`` from ``splits``, complete or not at all; if it exists, compare its settings.

    It contains ``text/`` (plain references and their sources), ``tokens/`` (the same, tokenised),
    ``subwords/``, the binarised ``bin/``, ``benchmark.yaml``, ``settings.json`` with digests of the text.

    Args:
        splits: ``train``, ``valid`` unless the recipe holds it out, and any number of test sets.

    Raises:
        RuntimeError: fairseq-preprocess failed.
        ValueError: ``folder`` was made by something else or with other settings, a name is not allowed, or
            no training pair remains.
    """
    tests = [part for part in splits if part not in ("train", "valid")]
    check_names([*tests, recipe.source, recipe.target])
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    settings = {**asdict(recipe), "text": {part: digest(text) for part, text in splits.items()}}
    with locked(folder.with_name(folder.name + ".lock")) as lock:
        if not os.path.lexists(folder):
            with atomic_dir(folder) as unfinished:
                make(splits, recipe, unfinished, folder.name, lock)
                check_settings(settings, unfinished)
            print(f"made {folder}; edit {folder / 'benchmark.yaml'} and run el-nmt-benchmark on it")
        elif (folder / "settings.json").exists():
            check_settings(settings, folder)
            print(f"{folder} exists, made from the same text with the same settings: nothing to do")
        else:
            raise ValueError(f"{folder} exists and was not made by el-nmt-prepare: take another folder")


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError if a test set or a language has a name that fairseq or a benchmark cannot take."""
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"names of test sets and languages: letters, digits, - and _, got {name!r}")
        if SHARD.fullmatch(name):
            raise ValueError(f"fairseq would take a test set called {name!r} for a part of train or valid")
        if name == POOLED:
            raise ValueError(f"no test set may be called {name!r}: results use it for all of them together")


def check_folder(folder: Path) -> None:
    """Raise ValueError if fairseq or ``benchmark.yaml`` cannot name ``folder``."""
    if folder.name in ("", ".."):
        raise ValueError(f"FOLDER must name a new folder, got {folder}")
    for sign, path in ((",", folder), (os.pathsep, folder.resolve())):
        if sign in str(path):
            raise ValueError(f"FOLDER must have no {sign!r}, where fairseq splits names, got {path}")
    if "${" in folder.name:
        raise ValueError(f"FOLDER must have no '${{', which begins a variable in YAML files, got {folder}")


def digest(text: dict[str, list[str]]) -> str:
    """SHA-256 of the sentences of a part, with their languages."""
    total = hashlib.sha256()
    for language, lines in text.items():
        total.update("".join(f"{language}\t{line}\n" for line in lines).encode())
    return total.hexdigest()


def make(splits: Splits, recipe: Recipe, folder: Path, name: str, lock: int) -> None:
    """Fill ``folder`` as :func:`prepare` says; the commands inherit the descriptor ``lock``.

    Args:
        name: of the folder when it is complete.
    """
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
    check_symbols(words)
    binarise(words, recipe, folder, lock)
    tests = [part for part in tokens if part not in ("train", "valid")]
    write_settings(recipe, tests, folder, name)


def write_part(folder: Path, part: str, text: dict[str, list[str]]) -> None:
    """Write ``folder/part.language``, one sentence per line."""
    for language, lines in text.items():
        write_lines(folder / f"{part}.{language}", lines)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def binarise(splits: Splits, recipe: Recipe, folder: Path, lock: int) -> None:
    """Write ``folder/subwords`` and, with fairseq-preprocess, ``folder/bin``; test sets keep their names."""
    subwords, numbered, named = folder / "subwords", folder / "bin.unfinished", folder / "bin"
    for part, text in splits.items():
        write_part(subwords, part, text)
    tests = [part for part in splits if part not in ("train", "valid")]
    command: list[str | Path] = ["fairseq-preprocess", "--source-lang", recipe.source]
    command += ["--target-lang", recipe.target, "--destdir", numbered]
    command += ["--joined-dictionary"] if recipe.joined else []
    command += ["--trainpref", subwords / "train", "--validpref", subwords / "valid"]
    command += ["--testpref", ",".join(str(subwords / part) for part in tests)] if tests else []
    run(command, folder / "preprocess.log", pass_fds=(lock,))
    # fairseq numbers several test sets: test, test1, test2, ...
    names = {f"test{number or ''}": name for number, name in enumerate(tests)}
    named.mkdir()
    for path in numbered.iterdir():
        part, suffix = path.name.split(".", maxsplit=1)
        path.rename(named / f"{names.get(part, part)}.{suffix}")
    numbered.rmdir()


def write_settings(recipe: Recipe, tests: Sequence[str], folder: Path, name: str) -> None:
    """Write ``folder/benchmark.yaml``, which the user edits for el-nmt-benchmark."""
    template = TEMPLATES.get_template("benchmark.yaml.jinja")
    output = json.dumps(f"../{name}_results", ensure_ascii=False)  # JSON's quotes are YAML's, too
    text = template.render(recipe=recipe, tests=tests or ["valid"], output=output)
    write_text(folder / "benchmark.yaml", text)
