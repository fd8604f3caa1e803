"""Multi30k's files: those that are there, those that are not, and others by the same names."""

import gzip

import pytest

pytest.importorskip("sentencepiece")

from el_plugins.nmt import multi30k


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


def test_every_file_of_a_language_has_a_digest():
    names = [*multi30k.PARTS.values(), *multi30k.TESTS]
    assert set(multi30k.DIGESTS) == {
        f"{name}.{language}" for name in names for language in ("de", "en", "fr")
    }
