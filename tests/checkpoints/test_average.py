"""Averaging on real files: values, dtypes, sharing, selection, and what happens when things go wrong."""

import subprocess
import sys

import pytest
import torch

from el_plugins.checkpoints.average import average_checkpoints, main
from el_plugins.checkpoints.choose import best_checkpoints, last_checkpoints
from el_plugins.checkpoints.safe_loading import load_checkpoint
from tests.commands import ONE_BY_ONE, PLUGIN, run


def save(path, weights, **extra):
    torch.save({"model": weights, "optimizer_history": [], "extra_state": {}, **extra}, path)
    return path


def test_the_mean_in_the_stored_dtype(tmp_path):
    values = [torch.randn(50), torch.randn(50), torch.randn(50)]
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        stored = [value.to(dtype) for value in values]
        paths = [save(tmp_path / f"{n}.pt", {"w": value}) for n, value in enumerate(stored)]
        averaged = average_checkpoints(paths)["model"]["w"]
        assert averaged.dtype == dtype
        exact = sum(value.double() for value in stored) / 3
        assert torch.equal(averaged, exact.to(dtype))


def test_small_terms_survive_in_bfloat16(tmp_path):
    # Summed in bf16, 256 + 1 stays 256.
    values = [256.0, *[1.0] * 9]
    paths = [
        save(tmp_path / f"{n}.pt", {"w": torch.tensor([v], dtype=torch.bfloat16)})
        for n, v in enumerate(values)
    ]
    assert average_checkpoints(paths)["model"]["w"].item() == 26.5


def test_shared_parameters_stay_shared_and_integers_are_the_last(tmp_path):
    paths = []
    for n in range(2):
        w = torch.full((3, 2), float(n))
        counters = {"count": torch.tensor(n), "mask": torch.tensor([n == 0])}
        paths.append(save(tmp_path / f"{n}.pt", {"embed": w, "out": w, "row": w[0], **counters}))
    save(tmp_path / "result.pt", average_checkpoints(paths)["model"])
    weights = load_checkpoint(tmp_path / "result.pt")["model"]
    assert weights["embed"].data_ptr() == weights["out"].data_ptr()
    assert torch.equal(weights["embed"], torch.full((3, 2), 0.5))
    assert torch.equal(weights["row"], torch.full((2,), 0.5))
    assert weights["count"].item() == 1
    assert not weights["mask"].item()


def test_training_state_is_dropped_and_the_rest_kept(tmp_path):
    fairseq = save(tmp_path / "f.pt", {"w": torch.ones(1)}, last_optimizer_state={"m": 1}, cfg={"a": 1})
    assert average_checkpoints([fairseq]).keys() == {"model", "optimizer_history", "extra_state", "cfg"}
    detectron2 = tmp_path / "model_0001.pth"
    torch.save({"model": {"w": torch.ones(1)}, "optimizer": {}, "scheduler": {}, "iteration": 9}, detectron2)
    assert average_checkpoints([detectron2]).keys() == {"model", "iteration"}


def test_plain_state_dicts(tmp_path):
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for n, path in enumerate(paths):
        torch.save({"w": torch.full((2,), float(n)), "steps": torch.tensor(n)}, path)
    averaged = average_checkpoints(paths)
    assert torch.equal(averaged["w"], torch.full((2,), 0.5))
    assert averaged["steps"].item() == 1


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        ("keys", "b.pt and .*a.pt differ in keys: extra"),
        ("shape", r"b.pt: w has shape \(3,\), in .*a.pt \(2,\)"),
        ("truncated", "cannot load checkpoint .*b.pt"),
        ("missing", "no such checkpoint: .*b.pt"),
        ("foreign", "b.pt holds no state dict"),
    ],
)
def test_errors_name_the_file_and_leave_the_output_alone(tmp_path, breakage, message):
    first, second = save(tmp_path / "a.pt", {"w": torch.ones(2)}), tmp_path / "b.pt"
    if breakage == "keys":
        save(second, {"w": torch.ones(2), "extra": torch.ones(1)})
    elif breakage == "shape":
        save(second, {"w": torch.ones(3)})
    elif breakage == "truncated":
        second.write_bytes(first.read_bytes()[:-200])
    elif breakage == "foreign":
        torch.save([1, 2], second)
    output = tmp_path / "out.pt"
    output.write_bytes(b"precious")
    with pytest.raises(SystemExit, match=message):
        main(["--inputs", str(first), str(second), "--output", str(output)])
    assert output.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir() if "tmp" in path.name) == []


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
def test_best_follows_the_direction_of_the_metric(tmp_path, maximize, expected):
    cfg = {"checkpoint": {"maximize_best_checkpoint_metric": maximize}}
    for value in ("9.1000", "12.3003", "3.2001"):  # three decimals and fairseq's random digit
        save(tmp_path / f"checkpoint.best_bleu_{value}.pt", {"w": torch.ones(1)}, cfg=cfg)
    best = best_checkpoints(tmp_path, 2)
    assert sorted((path.stem.split("_")[-1][:-1] for path in best), key=float) == expected


def test_best_of_a_real_training(trained):
    bleu = [float(path.stem.split("_")[-1]) for path in trained[0].glob("checkpoint.best_bleu_*.pt")]
    assert bleu
    best = best_checkpoints(trained[0], 1)
    assert float(best[0].stem.split("_")[-1]) == max(bleu)


def test_command_line_and_generation_from_the_average(trained, corpus, tmp_path):
    pytest.importorskip("fairseq")
    output = tmp_path / "averaged.pt"
    command = [sys.executable, "-m", "el_plugins.checkpoints.average", "--inputs", trained[0]]
    text = run(*command, "--output", output, "--num-epoch-checkpoints", 2)
    assert "checkpoint2.pt" in text
    assert "wrote" in text
    files = [trained[0] / f"checkpoint{epoch}.pt" for epoch in (2, 3)]
    one, two, mean = (load_checkpoint(path)["model"] for path in (*files, output))
    for name, value in mean.items():
        torch.testing.assert_close(value, (one[name] + two[name]) / 2)
    common = [corpus[1], "--user-dir", PLUGIN, "--path", output, "--beam", 1, "--cpu", "--max-len-b", 12]
    generated = run("fairseq-generate", *common, *ONE_BY_ONE)
    assert sum(line.startswith("H-") for line in generated.splitlines()) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inputs", "a", "b", "--num-epoch-checkpoints", "2"], "chooses from one folder"),
        (["--inputs", "a", "--num-epoch-checkpoints", "0"], "must be 1 or more, got 0"),
        (["--inputs", "a", "--checkpoint-upper-bound", "3"], "--checkpoint-upper-bound needs"),
        (
            ["--inputs", "a", "--num-best-checkpoints", "1", "--num-epoch-checkpoints", "1"],
            "not allowed with",
        ),
    ],
)
def test_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main([*arguments, "--output", "out.pt"])
    assert message in capsys.readouterr().err


def test_help_is_instant_and_says_what_is_best():
    done = subprocess.run(
        [sys.executable, "-m", "el_plugins.checkpoints.average", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--maximize-best-checkpoint-metric" in done.stdout
