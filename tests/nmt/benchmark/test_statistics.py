"""Verdicts and corrections against known values, tests over sentences against sacrebleu's."""

import pytest
from scipy import stats

pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark.statistics import compare, holm, over_sentences, verdict
from el_plugins.nmt.scoring import paired_test


def test_verdict():
    assert verdict("bleu", {"difference": 0.4, "holm": 0.03}) == "better"
    assert verdict("ter", {"difference": 0.4, "holm": 0.03}) == "worse"
    assert verdict("bleu", {"difference": -0.4, "holm": 0.03}) == "worse"
    assert verdict("bleu", {"difference": 0.4, "holm": 0.05}) == "no significant difference"
    assert verdict("bleu", {"difference": 0.4, "holm": None}) == "not tested"
    assert verdict("bleu", {"difference": None, "holm": None}) == "no result"


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        # R's p.adjust(p, "holm").
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.02, 0.9], [0.06, 0.06, 0.9]),
        ([0.6, 0.7], [1.0, 1.0]),
        # A comparison that could not be made is none.
        ([0.04, None, 0.01], [0.04, None, 0.02]),
        ([], []),
    ],
)
def test_holm(p_values, expected):
    corrected = holm(dict(enumerate(p_values)))
    assert list(corrected) == list(range(len(expected)))
    for one, value in zip(corrected.values(), expected):
        assert one == (None if value is None else pytest.approx(value))


def test_compare_is_a_t_interval():
    system, baseline = {1: 31.0, 2: 33.5, 3: 31.2, 5: 30.0}, {1: 30.0, 2: 31.0, 3: 31.0, 4: 9.0}
    comparison = compare(system, baseline)
    differences = [1.0, 2.5, 0.2]
    assert comparison["differences"] == pytest.approx(dict(zip((1, 2, 3), differences)))
    mean, error = sum(differences) / 3, stats.sem(differences)
    assert (comparison["low"], comparison["high"]) == pytest.approx(stats.t.interval(0.95, 2, mean, error))
    assert comparison["p_value"] == pytest.approx(2 * stats.t.sf(mean / error, 2))


def test_nothing_is_compared_where_a_run_diverged():
    comparison = compare({1: 31.0, 2: 33.0}, {1: 30.0, 2: 30.0, 3: 30.0}, diverged=True)
    assert comparison["differences"] == {1: 1.0, 2: 3.0}
    assert comparison["difference"] is comparison["low"] is comparison["p_value"] is None


def test_over_sentences_are_stored_and_corrected(tmp_path):
    references = [f"the {word} sat on the mat near the old {word}" for word in ("cat", "dog", "hen")] * 5
    baseline = [line.replace("sat on", "was at") for line in references]
    systems = {"ce": baseline, "el": references, "same": baseline}
    p_values = over_sentences(systems, references, tmp_path)
    assert p_values["ar"] == paired_test(systems, references, "ar")
    assert p_values["bs"]["el"]["bleu"] < 0.05
    # The smaller of two p-values counts twice.
    assert p_values["bs_holm"]["el"]["bleu"] == pytest.approx(2 * p_values["bs"]["el"]["bleu"])
    assert p_values["ar_holm"]["same"]["ter"] == 1.0
    (stored,) = tmp_path.iterdir()
    stored.write_text('{"bs": {"el": {"bleu": 0.5}}}')
    assert over_sentences(systems, references, tmp_path)["bs"] == {"el": {"bleu": 0.5}}
    assert over_sentences({"ce": references, "el": references}, references, tmp_path)["bs"] != {
        "el": {"bleu": 0.5}
    }
