"""Over-long translations, and BLEU without them."""

from pathlib import Path

import pytest
import sacrebleu

pytest.importorskip("fairseq")

from benchmarks.overlong import overlong, without_overlong
from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.settings import POOLED, read_settings

SETTINGS = Path("benchmarks/multi30k_fr_en.yaml")
REFERENCES = [
    "two dogs run through the tall grass .",
    "a man sits on a bench in the park .",
    "a girl paints a picture at the table .",
]


def test_an_over_long_translation_has_more_than_twice_the_words_and_five():
    assert overlong(["a " * 11, "a " * 12, "a " * 5], ["b b b"] * 2 + [""]) == {1}


def test_a_sentence_is_left_out_for_all_systems_of_a_seed():
    translations = {}
    for seed, long in ((11, 1), (12, None)):
        baseline = [reference.replace("the", "a") for reference in REFERENCES]
        if long is not None:
            baseline[long] += " in the park" * 30
        translations["ce_ls", seed, "averaged", POOLED] = baseline
        translations["el_ls_late", seed, "averaged", POOLED] = list(REFERENCES)
    references = {"one": ["not read"], POOLED: REFERENCES}
    results = Results("", read_settings(SETTINGS), [], translations=translations, references=references)
    scores, counts = without_overlong(results)
    assert counts == {"ce_ls": 1, "el_ls_late": 0}
    assert scores["el_ls_late"] == pytest.approx({11: 100, 12: 100})
    for seed, left in ((11, [0, 2]), (12, [0, 1, 2])):
        texts = translations["ce_ls", seed, "averaged", POOLED], REFERENCES
        ours, right = ([text[n] for n in left] for text in texts)
        assert scores["ce_ls"][seed] == pytest.approx(sacrebleu.corpus_bleu(ours, [right]).score)
