"""From rows to sections: means, comparisons, tests, their order, and runs that diverged."""

import pytest
from scipy import stats

pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.sections import make_sections
from el_plugins.nmt.benchmark.sentences import changed, lengths
from tests import made_up

CE, EL, FAR = (30.0, 31.0, 30.5), (31.0, 32.5, 31.4), (29.0, 32.0, 30.0)


def test_comparisons_are_corrected_over_the_systems():
    (section,) = make_sections(made_up.results({"ce": CE, "el": EL, "far": FAR}))
    raw = [stats.ttest_rel(values, CE).pvalue for values in (EL, FAR)]
    for metric in ("bleu", "ter"):
        compared = [section.systems[name][metric] for name in ("el", "far")]
        assert [one["p_value"] for one in compared] == pytest.approx(raw)
        assert [one["holm"] for one in compared] == pytest.approx([2 * raw[0], raw[1]])
    assert section.systems["el"]["bleu"]["mean"] == pytest.approx(sum(EL) / 3)
    assert "difference" not in section.systems["ce"]["bleu"]
    assert [(test["system"], test["seed"]) for test in section.tests] == [
        (n, s) for s in (1, 2, 3) for n in ("el", "far")
    ]
    assert section.tests[0]["differences"]["bleu"] == pytest.approx(1.0)


def test_sentences_of_the_headline():
    results = made_up.results({"ce": CE, "el": EL})
    (section,) = make_sections(results)
    examples = changed(results, section)["el"]
    assert examples["seed"] == 1
    assert [one["source"] for one in examples["rising"] + examples["falling"]] == ["Quelle 0"]
    assert list(lengths(results, section)) == ["ce", "el"]


def test_the_headline_is_pooled():
    subsets = ("test", "pooled", "test1")
    rows = [
        made_up.row(name, 1, 30.0, checkpoint, subset)
        for name in ("ce", "el")
        for checkpoint in ("best", "averaged")
        for subset in subsets
    ]
    results = Results("two", made_up.settings(["ce", "el"], [1], ["test", "test1"]), rows)
    assert [(section.checkpoint, section.subset) for section in make_sections(results)] == [
        (checkpoint, subset) for checkpoint in ("averaged", "best") for subset in ("pooled", "test", "test1")
    ]


@pytest.mark.parametrize("which", ["el", "ce"])
def test_a_diverged_run_leaves_no_result(which):
    bleu = {"ce": CE, "el": EL, which: (31.0, None, 31.4)}
    results = made_up.results(bleu, diverged=840)
    (section,) = make_sections(results)
    assert section.diverged == results.diverged == {"ce": {}, "el": {}, which: {2: 840}}
    figures = section.systems
    assert figures[which]["bleu"]["mean"] is None
    assert figures[which]["length_ratio"] is None
    assert figures["el"]["bleu"]["difference"] is figures["el"]["bleu"]["holm"] is None
    assert sorted(figures["el"]["bleu"]["differences"]) == [1, 3]
    tests = {test["seed"]: test["differences"] for test in section.tests}
    assert tests[2] is None
    assert tests[1]["bleu"] == pytest.approx(bleu["el"][0] - bleu["ce"][0])
    assert which not in lengths(results, section)


def test_every_run_diverged():
    (section,) = make_sections(made_up.results({"ce": (None,), "el": (None,)}, diverged=None))
    assert section.diverged == {"ce": {1: None}, "el": {1: None}}
    assert list(section.systems) == ["ce", "el"]
    assert section.signatures == {}


def test_a_system_without_runs_is_left_out():
    results = made_up.results({"ce": CE, "el": EL})
    results.benchmark.systems.append(made_up.System("later", "encouraging_ls"))
    assert [list(section.systems) for section in make_sections(results)] == [["ce", "el"]]
