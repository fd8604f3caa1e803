"""Tatoeba's archives, and parts that share no sentence."""

import random
import zipfile

import pytest

pytest.importorskip("sentencepiece")
from el_plugins.nmt import tatoeba
from el_plugins.nmt.parallel import describe_shared
from el_plugins.nmt.tatoeba import main, read, split
from el_plugins.utils.files import sha256
from tests.nmt.sentences import PAIRS

ENGLISH_FIRST = [(english, german) for german, english in PAIRS]
HELD_OUT = {"test": 6, "valid": 3}


def archive(path, rows, name="deu.txt"):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("__MACOSX/._deu.txt", "junk")
        file.writestr("_about.txt", "** Info **")
        file.writestr(name, "".join("\t".join(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["deu.txt", "deu-eng/deu.txt"])
def test_pairs_once_each_with_or_without_a_licence_beside_them(tmp_path, name):
    rows = [*ENGLISH_FIRST, ENGLISH_FIRST[0], ("Empty", "")]
    path = archive(tmp_path / "a.zip", [(*row, "CC-BY 2.0") for row in rows], name)
    assert read(path, "de") == ENGLISH_FIRST
    assert read(archive(tmp_path / "b.zip", rows, name), "de") == ENGLISH_FIRST


def test_no_sentence_is_in_two_parts():
    # Other translations of the same sentence, and one that two sentences have.
    more = [(english.upper(), f"Anders: {german}") for english, german in ENGLISH_FIRST]
    more += [(f"So: {english}", german) for english, german in ENGLISH_FIRST]
    parts = split([*ENGLISH_FIRST, *more], "de", HELD_OUT)
    assert {part: len(parts[part]["en"]) for part in HELD_OUT} == HELD_OUT
    assert describe_shared(parts) == ""
    assert describe_shared({"train": parts["train"], "x": parts["valid"]}) == ""
    assert describe_shared({"train": parts["valid"], "x": parts["test"]}) == ""
    pairs = {pair for text in parts.values() for pair in zip(text["en"], text["de"])}
    assert pairs <= {*ENGLISH_FIRST, *more}


def test_a_sentence_is_held_out_whatever_else_there_is():
    shuffled = list(ENGLISH_FIRST)
    random.Random(1).shuffle(shuffled)
    assert {*split(shuffled, "de", HELD_OUT)["test"]["en"]} == {
        *split(ENGLISH_FIRST, "de", HELD_OUT)["test"]["en"]
    }


def test_a_corpus_of_a_downloaded_archive(tmp_path, monkeypatch, preprocess, capsys):
    path = archive(tmp_path / "deu-eng.zip", ENGLISH_FIRST)
    monkeypatch.setattr(tatoeba, "URL", f"file://{tmp_path}/{{}}-eng.zip")
    monkeypatch.setattr(tatoeba, "HELD_OUT", HELD_OUT)
    pinned = tatoeba.DIGESTS
    monkeypatch.setattr(tatoeba, "DIGESTS", {"de": sha256(path)})
    made = tmp_path / "data" / "made"
    main(["de", str(made)])
    assert "another release" not in capsys.readouterr().out
    for part, count in HELD_OUT.items():
        english, german = (
            (made / "text" / f"{part}.{language}").read_text(encoding="utf-8").splitlines()
            for language in ("en", "de")
        )
        assert len(english) == count
        assert {*zip(english, german)} <= {(one.lower(), other.lower()) for one, other in ENGLISH_FIRST}
    train = (made / "subwords" / "train.en").read_text().splitlines()
    assert len(train) == len(PAIRS) - sum(HELD_OUT.values())
    assert {path.name.split(".")[0] for path in (made / "bin").glob("*.idx")} == {"train", *HELD_OUT}
    monkeypatch.setattr(tatoeba, "DIGESTS", pinned)
    main(["de", str(made)])
    printed = capsys.readouterr().out
    assert "deu-eng.zip is another release than that of our figures" in printed
    assert "made from the same text with the same settings: nothing to do" in printed


def test_bad_archives_are_named(tmp_path):
    path = archive(tmp_path / "deu-eng.zip", ENGLISH_FIRST)
    with pytest.raises(ValueError, match=r"not the English-fr archive: it has no file fra\.txt with pairs"):
        read(path, "fr")
    with pytest.raises(SystemExit, match="tatoeba: 36 English sentences are too few to hold out 3000"):
        main(["de", str(tmp_path / "made"), "--archive", str(path)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SystemExit, match="is damaged, or not a"):
        main(["de", str(tmp_path / "made"), "--archive", str(path)])
    assert not (tmp_path / "made").exists()
