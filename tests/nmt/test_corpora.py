"""The steps between text and subwords."""

import math

import pytest

pytest.importorskip("sentencepiece")
from sacremoses import MosesTokenizer

from el_plugins.nmt.cleaning import fitting, hold_out, lower, tokenise
from el_plugins.nmt.recipe import Recipe
from el_plugins.nmt.subwords import split_pieces, split_words
from tests.nmt.sentences import PAIRS, TRAIN

TEXT = {"de": [pair[0] for pair in TRAIN], "en": [pair[1] for pair in TRAIN]}


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (2, 3, True),
        (2, 4, False),
        (3, 2, True),
        (1, 0, False),
        (0, 0, False),
        (175, 175, True),
        (176, 170, False),
    ],
)
def test_lengths(source, target, fits):
    recipe = Recipe("de", "en", max_length=175, max_ratio=1.5)
    assert recipe.fits("w " * source, "w " * target) is fits
    long = Recipe("de", "en", max_length=10**6, max_ratio=None)
    assert long.fits("w " * source, "w " * target) is (min(source, target) > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length must be 1 or more, got 0"),
        ({"size": -1}, "size must be 1 or more, got -1"),
        ({"max_ratio": 0.5}, "max_ratio must be a number from 1 on, got 0.5"),
        ({"max_ratio": math.nan}, "max_ratio must be a number from 1 on, got nan"),
        ({"max_ratio": math.inf}, "max_ratio must be a number from 1 on, got inf"),  # JSON has no infinity
        ({"target": "de"}, "two languages, got de for both"),
        ({"subwords": "words"}, "subwords must be of bpe, sentencepiece, got 'words'"),
        ({"separate": True}, "no joined dictionary"),
    ],
)
def test_bad_recipes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"source": "de", "target": "en", **options})


def test_fitting_leaves_pairs_together_and_says_how_many_go(capsys):
    text = {"de": ["a b", "a", ""], "en": ["x y", "x y z", "x"]}
    assert fitting(text, Recipe("de", "en")) == {"de": ["a b"], "en": ["x y"]}
    assert "2 of 3 training pairs dropped for their lengths" in capsys.readouterr().out
    with pytest.raises(ValueError, match="none of 3 training pairs has 1 to 1 tokens"):
        fitting(text, Recipe("de", "en", max_length=1))


def test_hold_out_takes_one_of_so_many():
    text = {"de": [str(n) for n in range(1, 8)], "en": [str(-n) for n in range(1, 8)]}
    training, held_out = hold_out(text, 3)
    assert held_out == {"de": ["3", "6"], "en": ["-3", "-6"]}
    assert training == {"de": ["1", "2", "4", "5", "7"], "en": ["-1", "-2", "-4", "-5", "-7"]}
    with pytest.raises(ValueError, match="too few sentences within the length limits to hold out one of 23"):
        hold_out(text, 23)


def test_tokens_are_moses_of_each_language():
    tokens = tokenise({"train": TEXT}, escape=False)["train"]
    for language, lines in TEXT.items():
        moses = MosesTokenizer(lang=language)
        assert tokens[language] == [" ".join(moses.tokenize(line, escape=False)) for line in lines]
    assert lower({"train": {"de": ["Ä B"]}}) == {"train": {"de": ["ä b"]}}


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(
    ("split", "whole"),
    [
        (split_words, lambda line: line.replace("@@ ", "")),
        (split_pieces, lambda line: line.replace(" ", "").replace("▁", " ").strip()),
    ],
)
def test_subwords_join_to_the_text(split, whole, separate, tmp_path):
    text = {"de": [pair[0] for pair in PAIRS], "en": [pair[1] for pair in PAIRS]}
    pieces = split({"train": TEXT, "test": text}, 120, tmp_path / "model", separate=separate)
    for language, lines in pieces["test"].items():
        assert [whole(line) for line in lines] == text[language]
        assert lines != text[language]
    learned = {path.name for path in tmp_path.iterdir()}
    assert (len(learned) > 1) or not separate
    assert any(".de" in name for name in learned) is separate


def test_separate_subwords_know_only_their_language(tmp_path):
    text = {"train": {"de": ["xyxy"] * 9, "en": ["abab"] * 9}}
    together = split_words(text, 10, tmp_path / "one")
    separate = split_words(
        {**text, "test": {"de": ["abab"], "en": ["abab"]}}, 10, tmp_path / "two", separate=True
    )
    assert together["train"]["en"][0] == "abab"
    assert separate["test"] == {"de": ["a@@ b@@ a@@ b"], "en": ["abab"]}


def test_every_space_of_unicode_is_between_words(tmp_path):
    # French has no-break spaces before signs. fairseq splits at them, so subwords must not hide them.
    text = {part: {"fr": ["il dit\u00a0: non\u202f!"] * 3} for part in ("train", "test")}
    (line, *_) = split_words(text, 4, tmp_path / "codes")["test"]["fr"]
    assert " ".join(line.split()).replace("@@ ", "") == "il dit : non !"
    assert "\u00a0" not in (tmp_path / "codes").read_text(encoding="utf-8")


def test_pieces_keep_words_apart_at_every_space(tmp_path):
    # SentencePiece's normaliser deletes U+0085.
    text = {part: {"en": ["a girl\x85in it"] * 9} for part in ("train", "test")}
    (line, *_) = split_pieces(text, 20, tmp_path / "model")["test"]["en"]
    assert line.replace(" ", "").replace("▁", " ").strip() == "a girl in it"
