"""BLEU by length and the sentences that changed most."""

import pytest

sacrebleu = pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark.sections import make_sections
from el_plugins.nmt.benchmark.sentences import bleu_by_length, buckets, lengths, most_changed
from tests import made_up


def words(count):
    return " ".join(f"w{number}" for number in range(count))


def test_buckets():
    lengths = [1, 5, 6, 10, 11, 20, 21, 40, 41, 99]
    by_length = buckets([words(length) for length in lengths])
    assert by_length == {"1-5": [0, 1], "6-10": [2, 3], "11-20": [4, 5], "21-40": [6, 7], "41+": [8, 9]}
    assert buckets([words(7)]) == {"6-10": [0]}


def test_bleu_of_each_bucket_is_sacrebleus():
    references = [words(5), words(9), words(8), words(50)]
    hypotheses = [words(5), words(7), words(8), "w0"]
    scores = bleu_by_length(hypotheses, references)
    assert scores["1-5"] == pytest.approx(100)
    expected = sacrebleu.corpus_bleu(hypotheses[1:3], [references[1:3]]).score
    assert scores["6-10"] == pytest.approx(expected)
    assert set(scores) == {"1-5", "6-10", "41+"}


def test_lengths_are_means_over_all_seeds():
    results = made_up.results({"ce": (30.0, 31.0)})
    references = results.references["test"] = [words(5), words(9)]
    worse = [words(5), f"{words(8)} x"]
    results.translations = {("ce", 1, "averaged", "test"): references, ("ce", 2, "averaged", "test"): worse}
    (section,) = make_sections(results)
    bleu = sacrebleu.corpus_bleu(worse[1:], [references[1:]]).score
    assert 50 < bleu < 90
    (means,) = lengths(results, section).values()
    assert means == {"1-5": pytest.approx(100), "6-10": pytest.approx((100 + bleu) / 2)}
    del results.translations["ce", 2, "averaged", "test"]
    assert lengths(results, section) == {}


def test_most_changed():
    references = ["the cat sat", "a dog ran off", "one hen"]
    baseline = ["the cat sat", "dog", "one hen"]
    system = ["the cat", "a dog ran off", "one hen"]
    sentences = most_changed(["S0", "S1", "S2"], references, baseline, system)
    (rising,), (falling,) = sentences["rising"], sentences["falling"]
    assert (rising["source"], falling["source"]) == ("S1", "S0")
    chrf = sacrebleu.sentence_chrf("dog", [references[1]], word_order=2).score
    assert rising["change"] == pytest.approx(100 - chrf)
    assert falling["change"] < 0
    none = most_changed(["S0", "S1", "S2"], references, baseline, system, count=0)
    assert none == {"rising": [], "falling": []}
