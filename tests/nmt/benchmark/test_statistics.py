"""Verdicts, and tests over sentences against sacrebleu's."""

import pytest

pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark.statistics import over_sentences, verdict
from el_plugins.nmt.scoring import paired_test


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
