"""Reading and checking parallel text."""

import gzip

import pytest

from el_plugins.nmt.parallel import check_sides, describe_shared, read_lines, read_pairs
from tests.nmt.sentences import TEST, TRAIN, VALID, write

EXPECTED = {"de": [pair[0] for pair in TEST], "en": [pair[1] for pair in TEST]}


def test_plain_and_gzip_sides_may_mix(tmp_path):
    prefix = write(tmp_path / "a folder", "the test set", TEST)
    plain = prefix.with_name("the test set.de")
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_pairs(prefix, "de", "en") == EXPECTED


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_tsv_with_more_columns(tmp_path, name):
    text = "".join(f"{german}\t{english}\tCC-BY\n" for german, english in TEST).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert read_pairs(tmp_path / name, "de", "en") == EXPECTED


def test_a_tsv_line_without_a_tab(tmp_path):
    (tmp_path / "pairs.tsv").write_text("Ja\tYes\nNein\n")
    with pytest.raises(ValueError, match="1 of 2 lines have no tab between de and en, such as line 2"):
        read_pairs(tmp_path / "pairs.tsv", "de", "en")


def test_a_tsv_line_without_a_source_does_not_shift(tmp_path):
    (tmp_path / "pairs.tsv").write_text("Ja\tYes\tCC-BY\n\tNo\tCC-BY\n \t \tCC-BY\n")
    read = read_pairs(tmp_path / "pairs.tsv", "de", "en")
    assert read == {"de": ["Ja", "", ""], "en": ["Yes", "No", ""]}
    with pytest.raises(ValueError, match="test: 2 of 3 lines of de are empty, such as 2, 3"):
        check_sides({"test": read})


def test_line_ends_byte_order_marks_and_other_separators(tmp_path):
    path = tmp_path / "x.de"
    path.write_bytes("\ufeffEins \r\nzwei\rdrei\nvier\u2028fünf\x85sechs".encode())
    assert read_lines(path) == ["Eins", "zwei drei", "vier\u2028fünf\x85sechs"]


def test_what_is_no_text(tmp_path):
    (tmp_path / "latin.de").write_bytes("Grüße\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_lines(tmp_path / "latin.de")
    for number, content in enumerate((b"no gzip", gzip.compress(b"text " * 999)[:-12])):
        path = tmp_path / f"{number}.gz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a complete gzip file"):
            read_lines(path)


def test_missing_empty_and_unequal_files(tmp_path):
    prefix = write(tmp_path, "test", TEST)
    with pytest.raises(ValueError, match=r"neither .*test\.fr nor .*test\.fr\.gz exists"):
        read_pairs(prefix, "fr", "en")
    (tmp_path / "test.de").write_text("Eins\n")
    with pytest.raises(
        ValueError, match=r"equally many sentences in both languages, got \{'de': 1, 'en': 4\}"
    ):
        read_pairs(prefix, "de", "en")
    for language in ("de", "en"):
        (tmp_path / f"test.{language}").write_text("")
    with pytest.raises(ValueError, match=r"got \{'de': 0, 'en': 0\}"):
        read_pairs(prefix, "de", "en")


def splits(**parts):
    return {name: {"de": [p[0] for p in pairs], "en": [p[1] for p in pairs]} for name, pairs in parts.items()}


def test_empty_sides_are_counted():
    check_sides(splits(train=TRAIN))
    with pytest.raises(ValueError, match=r"train: 2 of 26 lines of en are empty, such as 25, 26"):
        check_sides(splits(valid=VALID, train=[*TRAIN, ("Eins", ""), ("Zwei", "")]))


def test_shared_sentences_of_either_side_count_without_case_and_spacing():
    assert describe_shared(splits(train=TRAIN, valid=TRAIN, test=TEST)) == ""
    shared = [(TRAIN[0][0].upper(), "Other words"), ("Andere Worte", TRAIN[1][1].replace(" ", "  "))]
    lines = describe_shared(splits(train=TRAIN, valid=VALID, test=TEST, news=[*shared, *TEST])).split("\n")
    assert lines == [
        f"1 of 6 sentences of news.de, such as: {TRAIN[0][0].upper()}",
        f"1 of 6 sentences of news.en, such as: {shared[1][1]}",
    ]
