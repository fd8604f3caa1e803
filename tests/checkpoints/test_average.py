"""Averaging on real files: values, dtypes, sharing, selection, and what happens when things go wrong."""

import re
import subprocess
import sys

import pytest
import torch

from el_plugins.checkpoints.average import average_checkpoints, main
from el_plugins.checkpoints.safe_loading import load_checkpoint
from tests.commands import ONE_BY_ONE, PLUGIN, run, run_with_little_disk


def save(path, weights, **extra):
    torch.save({"model": weights, "optimizer_history": [], "extra_state": {}, **extra}, path)
    return path


def test_the_mean_in_the_stored_dtype(tmp_path):
    values = [torch.randn(50), torch.randn(50), torch.randn(50)]
    dtypes = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64]
    for dtype in [*dtypes, torch.float8_e4m3fn, torch.float8_e5m2]:
        stored = [value.to(dtype) for value in values]
        paths = [save(tmp_path / f"{n}.pt", {"w": value}) for n, value in enumerate(stored)]
        averaged = average_checkpoints(paths)["model"]["w"]
        assert averaged.dtype == dtype
        wide = torch.complex128 if dtype.is_complex else torch.float64
        exact = sum(value.to(wide) for value in stored) / 3
        assert averaged.tolist() == exact.to(dtype).tolist()


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


def test_what_is_tied_in_the_last_file_only_has_its_own_mean(tmp_path):
    tied = torch.tensor([5.0])
    first = save(tmp_path / "1.pt", {"embed": torch.tensor([1.0]), "out": torch.tensor([3.0])})
    weights = average_checkpoints([first, save(tmp_path / "2.pt", {"embed": tied, "out": tied})])["model"]
    assert {name: value.item() for name, value in weights.items()} == {"embed": 3.0, "out": 4.0}


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
        ("kind", r"b.pt: w is of torch.int64, in .*a.pt it is no such kind of number"),
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
    elif breakage == "kind":
        save(second, {"w": torch.ones(2, dtype=torch.long)})
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


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("quantised", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)),
        ("torch.sparse_coo", torch.eye(2).to_sparse()),
    ],
)
def test_weights_that_have_no_mean_here_are_refused(kind, weights, tmp_path):
    path = save(tmp_path / "a.pt", {"w": weights})
    # Before 2.6 torch's own restricted loading has no quantised tensors.
    refusal = (
        rf"a\.pt: (w is a {kind} tensor, but only dense weights|it carries torch._utils._rebuild_qtensor)"
    )
    with pytest.raises(ValueError, match=refusal):
        average_checkpoints([path])


def test_a_full_disk_is_one_line(tmp_path):
    paths = [save(tmp_path / f"{n}.pt", {"w": torch.randn(100_000)}) for n in range(2)]
    output = tmp_path / "out.pt"
    output.write_bytes(b"precious")
    command = [sys.executable, "-m", "el_plugins.checkpoints.average", "--inputs", *paths, "--output", output]
    text = run_with_little_disk(200, *command)
    assert text.endswith(f"status 1\nel-average-checkpoints: {output}: File too large\n")
    assert output.read_bytes() == b"precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["0.pt", "1.pt", "out.pt"]


def test_unsafe_by_name(tmp_path):
    path, output = tmp_path / "a.pt", tmp_path / "out.pt"
    save(path, {"w": torch.ones(1)}, more=subprocess.CompletedProcess([], 0))
    command = [sys.executable, "-m", "el_plugins.checkpoints.average", "--inputs", path, "--output", output]
    # torch calls the module as Python 2 did, before 2.6 as Python 3 does.
    assert re.search(r"it carries (commands|subprocess)\.CompletedProcess", run(*command, check=False))
    assert "wrote" in run(*command, "--unsafe")


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
