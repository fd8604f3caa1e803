"""What ``el-nmt-prepare`` refuses."""

import re

import pytest

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")
pytest.importorskip("submitit")
from el_plugins.nmt.benchmark.settings import read_settings
from el_plugins.nmt.prepare import main
from tests.nmt.preparation import fails, words
from tests.nmt.sentences import NEWS, TRAIN, write


def test_a_folder_of_something_else_is_left_alone(text, tmp_path):
    other = tmp_path / "thesis"
    other.mkdir()
    assert "thesis exists and was not made by el-nmt-prepare" in fails(words(text, other))
    assert list(other.iterdir()) == []


def test_faults_of_the_text_are_refused(text, tmp_path, capsys):
    made = tmp_path / "made"
    write(text, "news", [*NEWS, TRAIN[3], TRAIN[4]])
    refused = fails(words(text, made))
    assert "training contains sentences of a test set (--allow-overlap accepts them)" in refused
    assert f"2 of 6 sentences of news.de, such as: {TRAIN[3][0]}; {TRAIN[4][0]}" in refused
    write(text, "train", [*TRAIN, ("", "Nothing"), ("Nichts", "")])
    assert "train: 1 of 26 lines of de are empty, such as 25" in fails(words(text, made))
    (text / "dev.de").write_text("Eins\n", encoding="utf-8")
    assert "must have equally many sentences in both languages, got {'de': 1, 'en': 4}" in fails(
        words(text, made)
    )
    (text / "dev.de").unlink()
    assert "dev.de.gz exists" in fails(words(text, made))
    assert not made.exists()


def test_overlap_may_be_allowed_and_names_need_not_look_like_words(text, tmp_path, capsys):
    write(text, "news", [*NEWS, TRAIN[3]])
    # YAML takes "no" for false and 2016 for a number.
    for path in text.glob("*.de"):
        path.rename(path.with_suffix(".no"))
    tests = ["--test", f"2016={text / 'test'}", f"yes={text / 'news'}"]
    parts = ["--train", str(text / "train"), "--valid", str(text / "dev"), "--size", "60"]
    made = tmp_path / "made"
    main(["--source", "no", "--target", "en", *parts, *tests, str(made), "--allow-overlap"])
    assert "1 of 5 sentences of yes.en" in capsys.readouterr().err
    benchmark = read_settings(made / "benchmark.yaml")
    assert list(benchmark.data.references) == ["2016", "yes"]
    assert benchmark.data.source == "no"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "FOLDER is missing"),
        (["made", "--test", "train=x"], "NAME neither train nor valid, got train=x"),
        (["made", "--test", "prefix"], "--test must be NAME=PREFIX, .* got prefix"),
        (["made", "--test", "news=x"], "--test must have names all different, got captions, news, news"),
        (["made", "--subwords", "words"], "invalid choice: 'words'"),
    ],
)
def test_bad_arguments_are_named(text, more, message, capsys):
    folder = more[:1]
    assert re.search(message, fails([*folder, *words(text, *more[1:])], capsys))


def test_bad_values_are_named(text, tmp_path):
    made = str(tmp_path / "made")
    assert "max_length must be 1 or more, got 0" in fails(words(text, made, "--max-length", "0"))
    assert "none of 24 training pairs has 1 to 2 tokens" in fails(words(text, made, "--max-length", "2"))
    assert "letters, digits, - and _, got 'a b'" in fails([made, *words(text, f"a b={text / 'test'}")])
    for sign in ",:":
        assert f"FOLDER must have no {sign!r}, where fairseq splits" in fails(words(text, f"{made}{sign}too"))
    assert "FOLDER must have no '${', which begins a variable" in fails(words(text, f"{made}${{HOME}}"))
    for folder in (".", "..", "/"):
        assert f"FOLDER must name a new folder, got {folder}" in fails(words(text, folder))
    assert "no test set may be called 'pooled'" in fails([made, *words(text, f"pooled={text / 'test'}")])
    refused = fails([made, *words(text, f"train1={text / 'test'}")])
    assert "fairseq would take a test set called 'train1' for a part of train" in refused
    assert not (tmp_path / "made").exists()


def test_a_colon_in_the_working_directory_is_found_at_once(text, tmp_path, monkeypatch):
    (tmp_path / "w:x").mkdir()
    monkeypatch.chdir(tmp_path / "w:x")
    assert "FOLDER must have no ':', where fairseq splits names, got " in fails(words(text, "made"))


def test_a_link_to_nowhere_is_left_alone(text, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "missing")
    assert "link exists and was not made by el-nmt-prepare" in fails(words(text, link))
    assert link.is_symlink()


def test_control_symbols_of_fairseq_are_no_words(text, tmp_path):
    crossed = [(f"<s> {german} </s>", english) for german, english in TRAIN]
    write(text, "train", crossed)
    refused = fails(words(text, tmp_path / "made", "--tokenizer", "none"))
    assert "24 of 24 sentences of train.de contain one of </s>, <pad>, <s>, <unk> as a word" in refused
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([("a", "b")], [], "the training text has no word of two characters"),
        ([("ab", "cd")], [], "too small for BPE: no pair of characters occurs twice"),
        (TRAIN, ["--subwords", "sentencepiece", "--size", "5"], "SentencePiece cannot learn 5 pieces"),
    ],
)
def test_too_little_text_for_subwords(text, tmp_path, pairs, options, message):
    write(text, "train", pairs)
    assert message in fails(words(text, tmp_path / "made", *options))
    assert not (tmp_path / "made").exists()
