"""Prepare IWSLT's TED talks for fairseq, with the content of fairseq's own two recipes.

German-English of 2014: Moses tokens, pairs of 1 to 175 tokens and a ratio of lengths up to 1.5, lower case,
10,000 BPE operations learned on both sides, every 23rd pair for validation, five sets joined as test.
French-English of 2017: untokenised text, 16,384 SentencePiece BPE pieces learned on both sides, dev2010 for
validation, tst2010 to tst2015 as six test sets.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from el_plugins.nmt.corpora import prepare
from el_plugins.nmt.parallel import Splits
from el_plugins.nmt.recipe import Recipe
from el_plugins.utils.archives import read_members
from el_plugins.utils.downloads import check_unchanged, download_pinned, record_checksum
from el_plugins.utils.program import program

# Neither was reachable when this was written: the original homes are gone.
URLS = {
    # Of fairseq's own recipe.
    "de-en": "http://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz",
    "fr-en": "https://huggingface.co/datasets/IWSLT/iwslt2017/resolve/main/data/2017-01-trnted/texts/fr/en/fr-en.zip",
}
# SHA-256 as first downloaded; --trust-checksum takes what came until somebody records it here.
DIGESTS: dict[str, str] = {}
# Lines of the training files that describe a talk and are not sentences of it.
ABOUT = re.compile(r"<(url|talkid|keywords|speaker|reviewer|translator|doc|/doc)\b")
TAG = re.compile(r"</?(title|description)>")
SEGMENT = re.compile(r'<seg id="\d+">\s*(.*?)\s*</seg>')

DE_EN_TESTS = [
    "IWSLT14.TED.dev2010",
    "IWSLT14.TEDX.dev2012",
    "IWSLT14.TED.tst2010",
    "IWSLT14.TED.tst2011",
    "IWSLT14.TED.tst2012",
]
FR_EN_VALID = "IWSLT17.TED.dev2010"
FR_EN_TESTS = [f"IWSLT17.TED.tst{year}" for year in range(2010, 2016)]


class Archive:
    """A .tgz or .zip as released by IWSLT, for one language pair.

    Args:
        path: the archive.
        source: source language; the target is English.
        sets: names of the required development and test sets.

    Raises:
        ValueError: it is damaged or another archive; the message says what was expected.
    """

    def __init__(self, path: Path, source: str, sets: Sequence[str]):
        self.path, self.pair, self.languages = path, f"{source}-en", (source, "en")
        self.members = self._read()
        needed = [f"{self.pair}/train.tags.{self.pair}.{language}" for language in self.languages]
        needed += [f"{self.pair}/{name}.{self.pair}.{lang}.xml" for name in sets for lang in self.languages]
        if missing := [name for name in needed if name not in self.members]:
            raise ValueError(
                f"{path} is not IWSLT's {self.pair} archive: it lacks {missing[0]} and {len(missing) - 1} "
                f"more of the {len(needed)} files expected"
            )

    def _read(self) -> dict[str, str]:
        """Text of the pair's files, by name below its folder."""
        wanted = re.compile(rf"(^|/)({self.pair}/[^/]*)$")
        texts = {}
        for name, content in read_members(self.path, wanted).items():
            if match := wanted.search(name):
                texts[match[2]] = content.decode("utf-8", errors="replace")
        return texts

    def training(self) -> dict[str, list[str]]:
        """The training part by language, in the archive's order."""
        text = {}
        for language in self.languages:
            lines = self.members[f"{self.pair}/train.tags.{self.pair}.{language}"].rstrip("\n").split("\n")
            text[language] = [TAG.sub("", line).strip() for line in lines if not ABOUT.match(line.lstrip())]
        return self._parallel("the training part", text)

    def set(self, name: str) -> dict[str, list[str]]:
        """A development or test set by language."""
        text = {}
        for language in self.languages:
            segments = SEGMENT.findall(self.members[f"{self.pair}/{name}.{self.pair}.{language}.xml"])
            text[language] = [segment.replace("\u2019", "'") for segment in segments]
        return self._parallel(name, text)

    def _parallel(self, what: str, text: dict[str, list[str]]) -> dict[str, list[str]]:
        counts = {language: len(lines) for language, lines in text.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise ValueError(
                f"{self.path}: {what} must have equally many sentences in both languages, got {counts}"
            )
        return text


# fairseq's own settings by pair. As there, sentences shared by training and tests are not removed.
RECIPES = {
    "de-en": Recipe(
        "de",
        "en",
        escape=True,
        max_length=175,
        max_ratio=1.5,
        valid_every=23,
        lowercase=True,
        size=10_000,
        joined=False,
    ),
    "fr-en": Recipe(
        "fr", "en", moses=False, max_length=250, max_ratio=None, subwords="sentencepiece", size=16_384
    ),
}


def read_de_en(path: Path) -> Splits:
    """The training part, and the five sets joined as one test."""
    talks = Archive(path, "de", DE_EN_TESTS)
    sets = [talks.set(name) for name in DE_EN_TESTS]
    test = {language: [line for one in sets for line in one[language]] for language in talks.languages}
    return {"train": talks.training(), "test": test}


def read_fr_en(path: Path) -> Splits:
    """The training part, the validation part, and the test sets numbered as in fairseq."""
    talks = Archive(path, "fr", [FR_EN_VALID, *FR_EN_TESTS])
    tests = {f"test{number or ''}": talks.set(name) for number, name in enumerate(FR_EN_TESTS)}
    return {"train": talks.training(), "valid": talks.set(FR_EN_VALID), **tests}


READERS: Mapping[str, Callable[[Path], Splits]] = {"de-en": read_de_en, "fr-en": read_fr_en}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.iwslt``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.iwslt", description=__doc__)
    parser.add_argument("pair", choices=RECIPES)
    parser.add_argument(
        "archive",
        type=Path,
        help="IWSLT 2014's de-en.tgz or IWSLT 2017's fr-en.tgz or .zip; downloaded if it is missing",
    )
    parser.add_argument("folder", type=Path, help="output folder; fairseq's data are in its bin/")
    parser.add_argument("--url", help="download the archive from here")
    parser.add_argument("--trust-checksum", metavar="SHA256", help="take an archive with this checksum")
    options = parser.parse_args(arguments)
    with program("iwslt"):
        url = options.url or URLS[options.pair]
        download_pinned(url, options.archive, DIGESTS.get(options.pair), options.trust_checksum)
        check_unchanged(options.archive)
        prepare(READERS[options.pair](options.archive), RECIPES[options.pair], options.folder)
        record_checksum(options.archive)


if __name__ == "__main__":
    main()
