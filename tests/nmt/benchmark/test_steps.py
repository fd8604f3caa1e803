"""Which of a run's steps are made again after a change, and which checkpoints are averaged."""

import json

import pytest

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.driver import print_short_trainings
from el_plugins.nmt.benchmark.evaluation import _discard_outdated
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.training import checkpoints_to_average
from tests import made_up

TRANSLATIONS = ("best.test.txt", "averaged.test.txt", "averaged.news.txt", "averaged.valid.lenpen0.6.txt")


@pytest.fixture
def run(tmp_path):
    """A complete run on a corpus of empty files."""
    (tmp_path / "bin").mkdir()
    for subset in ("train", "valid", "test", "news"):
        (tmp_path / "bin" / f"{subset}.de-en.de.bin").write_text(subset)
        (tmp_path / f"{subset}.en").write_text(subset)
    references = {subset: str(tmp_path / f"{subset}.en") for subset in ("test", "news")}
    benchmark = made_up.settings(["el"], [1], references=references, folder=str(tmp_path / "bin"))
    run = Run(benchmark, benchmark.systems[0], 1, tmp_path / "out")
    run.translations.mkdir(parents=True)
    run.check()
    _discard_outdated(run)
    for name in TRANSLATIONS:
        (run.translations / name).touch()
    run.result.write_text(json.dumps({"evaluation": run.evaluation_settings()}))
    return run


def steps(run):
    """What is left of ``run`` when it is started again: (result, translations)."""
    run.check()
    run.discard_outdated()
    _discard_outdated(run)
    return run.result.exists(), {path.name for path in run.translations.glob("*.txt")}


def test_without_a_change_all_stays(run):
    assert steps(run) == (True, set(TRANSLATIONS))


def test_other_references_are_scored_again(run, tmp_path):
    (tmp_path / "test.en").write_text("other")
    assert steps(run) == (False, set(TRANSLATIONS))


def test_other_arguments_of_generate_translate_again(run):
    run.benchmark.generate = "--beam 9"
    assert steps(run) == (False, set())


def test_another_test_set_is_translated_again(run, tmp_path):
    (tmp_path / "bin" / "news.de-en.de.bin").write_text("other")
    assert steps(run) == (False, {name for name in TRANSLATIONS if "news" not in name})


def test_a_test_set_less_or_another_penalty_leaves_the_translations(run):
    run.benchmark.length_penalties = [1.0]
    del run.benchmark.data.references["news"]
    result, translations = steps(run)
    assert not result
    assert {"averaged.test.txt", "averaged.valid.lenpen0.6.txt"} <= translations


def test_another_training_is_refused(run, tmp_path):
    (tmp_path / "bin" / "train.de-en.de.bin").write_text("other")
    with pytest.raises(ValueError, match=r"made with other settings \(corpus\)"):
        steps(run)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["checkpoint1.pt", "checkpoint2.pt", "checkpoint3.pt"], ""),
        (["checkpoint1.pt"], "el/seed1 has fewer than 3 epochs: averaged 1\n"),
        (["checkpoint_last.pt"], "el/seed1 was shorter than an epoch: averaged checkpoint_last.pt\n"),
    ],
)
def test_a_short_training_is_reported(run, capsys, names, message):
    run.result.write_text(json.dumps({"averaged": names}))
    print_short_trainings([run])
    assert capsys.readouterr().out == message


@pytest.mark.parametrize(
    ("files", "averaged"),
    [
        (["1", "2", "10", "_1_5", "_last"], ["2", "10"]),
        (["1", "_last"], ["1"]),
        (["_1_5", "_1_10", "_1_15", "_last", "_best"], ["_1_10", "_1_15"]),
        (["_last", "_best"], ["_last"]),
    ],
)
def test_checkpoints_of_short_trainings(tmp_path, files, averaged):
    for name in files:
        (tmp_path / f"checkpoint{name}.pt").touch()
    paths = checkpoints_to_average(tmp_path, 2)
    assert [path.name for path in paths] == [f"checkpoint{name}.pt" for name in averaged]
