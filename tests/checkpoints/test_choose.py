"""Which checkpoints of a folder are chosen."""

from argparse import Namespace

import pytest
import torch

from el_plugins.checkpoints.choose import best_checkpoints, last_checkpoints


def test_last_by_epoch_and_by_update(tmp_path):
    for name in ("checkpoint1", "checkpoint9", "checkpoint10", "checkpoint_2_50", "checkpoint_10_400"):
        (tmp_path / f"{name}.pt").touch()
    for other in ("checkpoint_last.pt", "checkpoint_best.pt", "checkpoint11.pt.tmp", "mycheckpoint12.pt"):
        (tmp_path / other).touch()

    def names(*arguments, **options):
        return [path.stem for path in last_checkpoints(tmp_path, *arguments, **options)]

    assert names(2) == ["checkpoint9", "checkpoint10"]
    assert names(2, upper_bound=9) == ["checkpoint1", "checkpoint9"]
    assert names(2, by_update=True) == ["checkpoint_2_50", "checkpoint_10_400"]
    with pytest.raises(ValueError, match="has 3 epoch checkpoints, fewer than the 4 asked for"):
        last_checkpoints(tmp_path, 4)


@pytest.mark.parametrize(("maximize", "expected"), [(True, ["9.100", "12.300"]), (False, ["3.200", "9.100"])])
@pytest.mark.parametrize("stored", ["cfg", "cfg of namespaces", "args"])
def test_best_follows_the_direction_of_the_metric(tmp_path, stored, maximize, expected):
    settings = {"maximize_best_checkpoint_metric": maximize}
    extra = {
        "cfg": {"cfg": {"checkpoint": settings}},
        "cfg of namespaces": {"cfg": {"checkpoint": Namespace(**settings)}, "args": None},
        "args": {"args": Namespace(**settings)},  # fairseq before 0.10
    }[stored]
    for value in ("9.1000", "12.3003", "3.2001"):  # three decimals and fairseq's random digit
        path = tmp_path / f"checkpoint.best_bleu_{value}.pt"
        torch.save({"model": {"w": torch.ones(1)}, **extra}, path)
    best = best_checkpoints(tmp_path, 2)
    assert sorted((path.stem.split("_")[-1][:-1] for path in best), key=float) == expected


def test_best_of_a_real_training(trained):
    bleu = [float(path.stem.split("_")[-1]) for path in trained[0].glob("checkpoint.best_bleu_*.pt")]
    assert bleu
    best = best_checkpoints(trained[0], 1)
    assert float(best[0].stem.split("_")[-1]) == max(bleu)


@pytest.mark.parametrize("content", [{"model": {}}, {"cfg": None}, {"cfg": {"checkpoint": {}}}, [1]])
def test_a_file_that_does_not_say_which_is_best(content, tmp_path):
    torch.save(content, tmp_path / "checkpoint.best_bleu_1.000.pt")
    with pytest.raises(
        ValueError, match=r"checkpoint\.best_bleu_1\.000\.pt has no settings of fairseq that say"
    ):
        best_checkpoints(tmp_path, 1)
