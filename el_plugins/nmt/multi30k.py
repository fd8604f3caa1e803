"""Prepare Multi30k's image captions for fairseq: ``python -m el_plugins.nmt.multi30k``.

German or French to English by task 1 of https://github.com/multi30k/dataset (Elliott et al., 2016): Moses
tokens, lower case, 10,000 BPE operations learned on both sides, four test sets. The test sets
are unchanged, although three of their German sentences and one of the French are also in the training part.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt.corpora import prepare
from el_plugins.nmt.parallel import Splits, check_sides, find_side, read_bytes, read_pairs
from el_plugins.nmt.prepare import check_overlap
from el_plugins.nmt.recipe import Recipe
from el_plugins.utils.downloads import download
from el_plugins.utils.program import program

URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/{}.gz"
PARTS = {"train": "train", "valid": "val"}
TESTS = ["test_2016_flickr", "test_2017_flickr", "test_2017_mscoco", "test_2018_flickr"]
# SHA-256 of the uncompressed texts.
DIGESTS = {
    "test_2016_flickr.de": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    "test_2016_flickr.en": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
    "test_2016_flickr.fr": "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
    "test_2017_flickr.de": "c3078bc3b36808bf9d20eb2347ed6137016179ef59ec0d2b9b8ecc3fb2880081",
    "test_2017_flickr.en": "ce1450ddc5ab0834502579d77a170849952e15a2938b34cc503bdc25ebb4fb98",
    "test_2017_flickr.fr": "6f3764e31dac41e9455e612958bcfd4e877c5e15cd66df2c2b2be6d9bd83e5b6",
    "test_2017_mscoco.de": "58277df3c75f92f7145a11b910b553d1cf82c439249d4dc237c899609eafac22",
    "test_2017_mscoco.en": "43051fdfa86fd5395182e718a94ca67b1b227b9f7c79596ff0f6b813216981d2",
    "test_2017_mscoco.fr": "39cde3f43f32b0a6bf29ce4917a46329ff32e53070c2fac87506695a740ae0a0",
    "test_2018_flickr.de": "39fcc8b3331d76fb42d648d019c6898b0d5e58baac87bc2a0bb93f44ec8db207",
    "test_2018_flickr.en": "4e585c2dd525911a6ea7730e9d0b516239af3f1b1ffae6a2130223cfb639f25e",
    "test_2018_flickr.fr": "234b4a887da0da4801a3e2c6f21336231ff7dd46daeb80cfa1b551c8bbb78239",
    "train.de": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
    "train.en": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
    "train.fr": "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
    "val.de": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
    "val.en": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
    "val.fr": "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
}


def read(source: str, folder: Path) -> Splits:
    """All parts from ``folder``, plain or ``.gz``; missing files are downloaded into it.

    Raises:
        RuntimeError: a download failed.
        ValueError: a file differs from the release.
    """
    splits = {}
    for part, name in {**PARTS, **{name: name for name in TESTS}}.items():
        for language in (source, "en"):
            if not (folder / f"{name}.{language}").exists():
                download(URL.format(f"{name}.{language}"), folder / f"{name}.{language}.gz")
            path = find_side(folder / name, language)
            if hashlib.sha256(read_bytes(path)).hexdigest() != DIGESTS[f"{name}.{language}"]:
                raise ValueError(f"{path} differs from Multi30k's release: delete it")
        splits[part] = read_pairs(folder / name, source, "en")
    return splits


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.multi30k``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.multi30k", description=__doc__)
    parser.add_argument("source", choices=["de", "fr"], help="source language; the target is English")
    parser.add_argument("folder", type=Path, help="output folder; fairseq's data are in its bin/")
    parser.add_argument(
        "--raw",
        type=Path,
        help="folder of train.de.gz etc., downloaded if missing (default: downloads beside FOLDER)",
    )
    options = parser.parse_args(arguments)
    with program("multi30k"):
        splits = read(options.source, options.raw or options.folder.parent / "downloads")
        check_sides(splits)
        check_overlap(splits, allow=True)
        prepare(splits, Recipe(options.source, "en", lowercase=True), options.folder)


if __name__ == "__main__":
    main()
