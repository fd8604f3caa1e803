"""Tests over seeds against values worked by hand, over sentences against sacrebleu's."""

import pytest

pytest.importorskip("scipy")
pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark.statistics import over_seeds, over_sentences, verdict
from el_plugins.nmt.scoring import paired_test


def test_over_seeds_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) with 2 degrees of freedom, where
    # p = 1 - t / sqrt(t^2 + 2) and the 97.5 % quantile is 4.30265.
    found = over_seeds({1: 31.0, 2: 33.0, 3: 36.0, 9: 1.0}, {3: 33.0, 2: 31.0, 1: 30.0, 8: 2.0})
    assert found["seeds"] == 3
    assert found["difference"] == pytest.approx(2.0)
    assert found["p_value"] == pytest.approx(1 - 2 * 3**0.5 / 14**0.5)
    assert found["low"] == pytest.approx(2 - 4.30265 / 3**0.5, abs=1e-4)
    assert found["high"] == pytest.approx(2 + 4.30265 / 3**0.5, abs=1e-4)


@pytest.mark.parametrize("scores", [{1: 30.0}, {1: 31.0, 2: 31.0}])
def test_nothing_to_test(scores):
    found = over_seeds(scores, {1: 30.0, 2: 30.0})
    assert found["difference"] is not None
    assert found["p_value"] is None
    assert over_seeds(scores, {})["difference"] is None


def test_verdict():
    assert verdict("bleu", {"difference": 0.4, "p_value": 0.03}) == "better"
    assert verdict("ter", {"difference": 0.4, "p_value": 0.03}) == "worse"
    assert verdict("bleu", {"difference": -0.4, "p_value": 0.03}) == "worse"
    assert verdict("bleu", {"difference": 0.4, "p_value": 0.05}) == "not told apart"
    assert verdict("bleu", {"difference": 0.4, "p_value": None}) == "not told apart"


def test_over_sentences_are_kept(tmp_path):
    references = [f"the {word} sat on the mat near the old {word}" for word in ("cat", "dog", "hen")] * 5
    systems = {"ce": [line.replace("sat on", "was at") for line in references], "el": references}
    found = over_sentences(systems, references, tmp_path)
    assert found["ar"] == paired_test(systems, references, "ar")
    assert found["bs"]["el"]["bleu"] < 0.05
    (kept,) = tmp_path.iterdir()
    kept.write_text('{"bs": "kept"}')
    assert over_sentences(systems, references, tmp_path) == {"bs": "kept"}
    assert over_sentences({"ce": references, "el": references}, references, tmp_path) != {"bs": "kept"}
