"""Which of a run's steps are made again after a change, and which checkpoints and penalties are taken."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.evaluation import _discard_outdated, evaluate
from el_plugins.nmt.benchmark.launch import Machines
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.training import checkpoints_to_average, command, is_complete
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
    run.checkpoints.mkdir()
    for path in (run.trained, run.checkpoints / "checkpoint_best.pt"):
        path.touch()
    return run


def steps(run):
    """What is left of ``run`` when it is started again: (result, translations)."""
    run.check()
    if run.is_outdated():
        run.result.unlink()
    _discard_outdated(run)
    return run.result.exists(), {path.name for path in run.translations.glob("*.txt")}


def test_without_a_change_all_stays(run):
    assert steps(run) == (True, set(TRANSLATIONS))


def test_other_references_are_scored_again(run, tmp_path):
    (tmp_path / "test.en").write_text("other")
    assert steps(run) == (False, set(TRANSLATIONS))


def test_translations_are_scored_again_without_the_model(run, tmp_path):
    (run.checkpoints / "checkpoint_best.pt").unlink()
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


@pytest.mark.parametrize("gone", ["trained", "checkpoints/checkpoint_best.pt"])
def test_scores_are_kept_where_nothing_is_left_to_make_them_again(run, gone):
    (run.folder / gone).unlink()
    assert steps(run) == (True, set(TRANSLATIONS))
    run.benchmark.generate = "--beam 9"  # other references would do without the model
    with pytest.raises(ValueError, match=r"seed1 was translated or scored with other settings .* are gone"):
        steps(run)
    assert run.result.exists()


def test_another_training_is_refused(run, tmp_path):
    (tmp_path / "bin" / "train.de-en.de.bin").write_text("other")
    with pytest.raises(ValueError, match=r"made with other settings \(corpus\)"):
        steps(run)


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


@pytest.mark.parametrize(("saved", "complete"), [(10, False), (11, True), (None, False)])
def test_a_training_that_saved_its_last_update_is_complete(run, saved, complete):
    # fairseq looks at --max-update after an update only, so started again it would do one more.
    run.benchmark.train = "--max-update 5 --max-update 11"
    if saved is not None:
        state = {"model": {}, "optimizer_history": [{"num_updates": saved}]}
        torch.save(state, run.checkpoints / "checkpoint_last.pt")
    assert is_complete(run) == complete


def training_options(run):
    """What fairseq reads in the training's command."""
    from fairseq import options

    run.benchmark.train = "--arch transformer_iwslt_de_en"
    words = command(run, Machines())
    return options.parse_args_and_arch(options.get_training_parser(), words[1:])


def test_one_process_takes_one_gpu(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert training_options(run).distributed_world_size == 1


def test_the_best_checkpoint_has_the_lowest_nll(run):
    # A bonus makes losses of different systems incomparable.
    parsed = training_options(run)
    assert parsed.best_checkpoint_metric == "nll_loss"
    assert not parsed.maximize_best_checkpoint_metric


# Wrong words: two penalties tie on the validation set, and another is best on the test set.
WRONG = {
    "averaged.valid": {"1.4": 3, "1": 1, "0.6": 1},
    "averaged.test": {"1.4": 0, "1": 2, "0.6": 1},
    "averaged_tuned.test": {"1.4": 0, "1": 2, "0.6": 1},
}


def test_the_length_penalty_is_the_first_of_the_best_in_validation(run):
    run.benchmark.length_penalties = [1.4, 1.0, 0.6]
    del run.benchmark.data.references["news"]
    words = [f"w{number}" for number in range(20)]
    Path(run.benchmark.data.references["test"]).write_text(" ".join(words))
    names = {"best.test": 0, "averaged.test": 0}
    for name, penalties in WRONG.items():
        names.update({f"{name}.lenpen{penalty}": wrong for penalty, wrong in penalties.items()})
    for name, wrong in names.items():
        translation = " ".join(["x"] * wrong + words[wrong:])
        lines = f"S-0\tein Satz\nT-0\t{' '.join(words)}\nH-0\t-0.1\t{translation}\n"
        (run.translations / f"{name}.txt").write_text(lines)
    (tuned,) = [row for row in evaluate(run, lock=0) if row["checkpoint"] == "averaged_tuned"]
    assert tuned["length_penalty"] == 1.0
    assert tuned["translations"] == "averaged_tuned.test.lenpen1.txt"
