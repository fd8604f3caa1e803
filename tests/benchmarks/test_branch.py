"""Runs of a late bonus begun from the baseline's checkpoints, by real trainings."""

import json

import pytest
import torch

pytest.importorskip("fairseq")

from benchmarks import branch
from tests.commands import refusal, run

BRANCH = ("python", "-m", "benchmarks.branch")


@pytest.mark.long
def test_a_branched_run_is_the_whole_one(settings, tmp_path):
    """The same weights and log of validation as a late run that was trained from the start."""
    output = tmp_path / "output"
    run("el-nmt-benchmark", settings, "--systems", "ce", "--output", output)
    assert "late/seed1 goes on from checkpoint" in run(*BRANCH, settings, "ce", "late", "--output", output)
    changed = settings.with_name("changed.yaml")
    changed.write_text(settings.read_text().replace("--lr ", "--lr 1"))
    refused = run("el-nmt-benchmark", changed, "--systems", "late", "--output", output, check=False)
    assert "was made with other settings (train)" in refused
    results = []
    for folder in (output, tmp_path / "whole"):
        run("el-nmt-benchmark", settings, "--systems", "late", "--output", folder)
        late = folder / "runs" / "late" / "seed1"
        results.append((late, json.loads((late / "result.json").read_text())))
    (branched, result), (whole, expected) = results
    for name in ("averaged.pt", "checkpoints/checkpoint_last.pt", "checkpoints/checkpoint_best.pt"):
        a, b = (torch.load(run / name, weights_only=False)["model"] for run in (branched, whole))
        assert all(torch.equal(a[key], b[key]) for key in b), name
    assert result["averaged"] == expected["averaged"]
    assert list(result["curve"]) == list(expected["curve"])
    for update, figures in expected["curve"].items():
        assert result["curve"][update]["valid_nll_loss"] == figures["valid_nll_loss"]
    assert "late/seed1 has begun already" in run(*BRANCH, settings, "ce", "late", "--output", output)
    refused = refusal(branch.main, settings, "ce", "very_late", "--output", output)
    assert "has no epoch checkpoint before update 1: raise --keep-last-epochs" in refused


@pytest.mark.parametrize(
    ("base", "system", "message"),
    [
        ("ce", "other", "other must be ce, which has --bonus none, with a late bonus"),
        ("early", "very_late", "very_late must be early, which has --bonus none, with a late bonus"),
        ("ce", "early", "early must have --bonus-delay-updates"),
        ("ce", "very_late", "has no epoch checkpoint before update 1: raise --keep-last-epochs"),
        ("ce", "el", "systems to run must be of ce, late, other, early, very_late, got el"),
    ],
)
def test_what_is_refused(settings, tmp_path, base, system, message):
    output = tmp_path / "output"
    (output / "runs" / "ce" / "seed1" / "checkpoints").mkdir(parents=True)
    assert message in refusal(branch.main, settings, base, system, "--output", output)
    assert not (output / "runs" / system / "seed1").exists()
