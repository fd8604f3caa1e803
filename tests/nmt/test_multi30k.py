"""Multi30k's files: those that are there, those that are not, and others by the same names."""

import gzip
import hashlib

import pytest

pytest.importorskip("sentencepiece")

from el_plugins.nmt import multi30k
from tests.nmt.sentences import NEWS, TEST, TRAIN, VALID, write


def test_missing_files_are_downloaded_and_checked(tmp_path, monkeypatch):
    mirror, made = tmp_path / "mirror", tmp_path / "made"
    mirror.mkdir()
    monkeypatch.setattr(multi30k, "URL", f"file://{mirror}/{{}}.gz")
    with pytest.raises(
        SystemExit, match=r"cannot download file://.*train\.de\.gz .*: put it at .*train\.de\.gz"
    ):
        multi30k.main(["de", str(made)])
    (mirror / "train.de.gz").write_bytes(gzip.compress(b"Ein Satz.\n"))
    with pytest.raises(
        SystemExit, match=r"downloads/train\.de\.gz differs from Multi30k's release: delete it"
    ):
        multi30k.main(["de", str(made)])
    assert not made.exists()


def test_files_that_are_there_are_taken(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "train.fr").write_text("Une phrase.\n")
    with pytest.raises(SystemExit, match=r"raw/train\.fr differs from Multi30k's release: delete it"):
        multi30k.main(["fr", str(tmp_path / "made"), "--raw", str(tmp_path / "raw")])


def test_a_corpus_of_files_that_are_there_and_files_that_are_not(tmp_path, monkeypatch, preprocess, capsys):
    # One test sentence is in the training part, too: it stays, and is reported.
    tests = [[*TEST, TRAIN[0]], NEWS, NEWS[:2], TEST[:2]]
    parts = {"train": TRAIN, "val": VALID, **dict(zip(multi30k.TESTS, tests))}
    mirror = tmp_path / "mirror"
    digests = {}
    for name, pairs in parts.items():
        write(mirror, name, pairs)
        for language in ("de", "en"):
            content = (mirror / f"{name}.{language}").read_bytes()
            (mirror / f"{name}.{language}.gz").write_bytes(gzip.compress(content))
            digests[f"{name}.{language}"] = hashlib.sha256(content).hexdigest()
    write(tmp_path / "downloads", "train", TRAIN)
    (mirror / "train.de.gz").unlink()
    monkeypatch.setattr(multi30k, "URL", f"file://{mirror}/{{}}.gz")
    monkeypatch.setattr(multi30k, "DIGESTS", digests)
    made = tmp_path / "made"
    multi30k.main(["de", str(made)])
    for name, pairs in zip(multi30k.TESTS, tests):
        for side, language in enumerate(("de", "en")):
            lines = (made / "text" / f"{name}.{language}").read_text(encoding="utf-8").splitlines()
            assert lines == [pair[side].lower() for pair in pairs]
    shared = capsys.readouterr().err
    assert f"1 of 5 sentences of test_2016_flickr.de, such as: {TRAIN[0][0]}" in shared
    assert len((made / "subwords" / "train.de").read_text().splitlines()) == len(TRAIN)
    binarised = {path.name.split(".")[0] for path in (made / "bin").glob("*.idx")}
    assert binarised == {"train", "valid", *multi30k.TESTS}


def test_every_file_of_a_language_has_a_digest():
    names = [*multi30k.PARTS.values(), *multi30k.TESTS]
    assert set(multi30k.DIGESTS) == {
        f"{name}.{language}" for name in names for language in ("de", "en", "fr")
    }
