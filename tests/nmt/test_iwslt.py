"""What of IWSLT's files becomes a sentence pair."""

import tarfile

import pytest

pytest.importorskip("sentencepiece")

from el_plugins.nmt.iwslt import Archive

NAMES = ["SET"]


def archive(tmp_path, source_lines, target_lines, segments='<seg id="1"> a </seg>'):

    folder = tmp_path / "de-en"
    folder.mkdir()
    for language, lines in (("de", source_lines), ("en", target_lines)):
        (folder / f"train.tags.de-en.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / f"SET.de-en.{language}.xml").write_text(segments, encoding="utf-8")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as file:
        file.add(folder, arcname="de-en")
    return Archive(tmp_path / "a.tgz", "de", NAMES)


def test_titles_are_sentences_and_the_rest_about_a_talk_is_not(tmp_path):
    about = ["<url>u</url>", "<keywords>k</keywords>", "<speaker>s</speaker>", "<talkid>1</talkid>"]
    text = [*about, "<title>T</title>", "<description>D</description>", " One . ", "<reviewer>r</reviewer>"]
    sentences = archive(tmp_path, text, text).training()
    assert sentences == {"de": ["T", "D", "One ."], "en": ["T", "D", "One ."]}


def test_a_missing_line_is_noticed(tmp_path):
    with pytest.raises(ValueError, match=r"training part must have equally many .* got \{'de': 2, 'en': 1\}"):
        archive(tmp_path, ["Eins", "Zwei"], ["One"]).training()


def test_typographic_apostrophes_of_sets(tmp_path):
    sentences = archive(tmp_path, ["E"], ["O"], '<seg id="1"> it\u2019s </seg>\n<seg id="2">so</seg>').set(
        "SET"
    )
    assert sentences["en"] == ["it's", "so"]
