"""The GPU's benchmark where there is none: its arguments, a dry run on the CPU, table and figure."""

import csv
import functools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch

pytest.importorskip("fairseq")
pytest.importorskip("fvcore")
pytest.importorskip("torchvision")

from benchmarks import gpu, gpu_measure, gpu_peers, peers
from tests.commands import REPOSITORY

SMALL = {"rows": [(6, 11)], "linear": [(6, 11, 4)], "anchors": (2, 5, 3)}


@pytest.fixture(scope="module")
def lines():
    """The lines of a run of small cases, with what runs on a CPU and one peer that fails."""
    found = []

    def broken():
        raise RuntimeError("no such card\nat all")

    for case in gpu.cases("cpu", **SMALL):
        chosen = {
            name: case.peers[name] for name in case.peers if "Liger" not in name and "compiled" not in name
        }
        found += gpu.run(case._replace(peers={**chosen, "broken": broken}), 3, "cpu", "an abacus")
    return found


def test_cases_are_those_of_the_page():
    found = [(case.kind, case.name) for case in gpu.cases("cuda")]
    assert len(found) == len(set(found)) == 3 * 3 * 2 + 3 + 2
    assert ("rows", "8192x131072 bfloat16 smoothing 0.1") in found
    assert ("focal", "2x182403x80 float16") in found
    assert ("linear", "8192x131072 D 4096 bfloat16 smoothing 0.1") in found


@pytest.mark.long
def test_a_dry_run(lines):
    for line in lines:
        if line["peer"] == "broken":
            assert line["note"] == "RuntimeError"
            assert line["time ratio"] == ""
        else:
            assert line["note"] == ""
            assert 0 < line["fastest"] <= line["milliseconds"] <= line["slowest"]
            assert line["host ms"] > 0
    for name, base in (("fairseq LS-CE", "time ratio"), (gpu_peers.COPY, "of a copy's bandwidth")):
        assert {line[base] for line in lines if line["peer"] == name} == {1.0}
    assert {line["kind"] for line in lines} == {"rows", "focal", "linear"}


@pytest.mark.long
def test_table_and_figure(lines, tmp_path):
    gpu.write(lines, tmp_path)
    with (tmp_path / "losses.csv").open() as file:
        assert [row["peer"] for row in csv.DictReader(file)] == [line["peer"] for line in lines]
    text = (tmp_path / "README.md").read_text()
    assert "on an abacus" in text
    assert text.count("\n## ") == 3
    assert "| 6x11 bfloat16 smoothing 0.1 | EL | " in text
    ElementTree.parse(tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text()
    assert "rows: 6x11 bfloat16 smoothing 0.1" in drawn
    assert "float32" not in drawn
    gpu.write(lines, tmp_path)
    assert (tmp_path / "chart.svg").read_text() == drawn


def test_measuring_on_a_cpu():
    calls = []
    found = gpu_measure.measure(lambda: lambda: calls.append(torch.ones(2**20).sum()), 5, "cpu")
    assert len(calls) == gpu_measure.WARM_UP + 1 + 5
    assert found["fastest"] <= found["milliseconds"] <= found["slowest"]
    assert found["host"] == pytest.approx(found["milliseconds"], rel=0.5)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_compiled_cross_entropy_is_cross_entropy(epsilon, monkeypatch):
    # Traced only: to build the kernel takes a compiler, and seconds.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch.manual_seed(0)
    z, target = torch.randn(9, 7), torch.tensor([peers.PAD, 2, 3, 4, 5, 6, 2, peers.PAD, 4])
    compiled = gpu_peers.rows(peers.PAD, epsilon)["torch cross_entropy, compiled"]
    log_p = z.double().log_softmax(dim=1)
    terms = -(1 - epsilon) * log_p[torch.arange(9), target] - epsilon * log_p.mean(dim=1)
    expected = terms[target != peers.PAD].sum()
    torch.testing.assert_close(compiled(z, target, epsilon).double(), expected, rtol=1e-5, atol=1e-5)


def test_a_copy_has_the_logits_as_its_gradient():
    x = torch.randn(4, 7, requires_grad=True)
    (copied,) = torch.autograd.grad(gpu_peers.rows(peers.PAD, 0.1)[gpu_peers.COPY](x), x)
    assert torch.equal(copied, x)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", str(tmp_path / "new")]
    process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == "benchmarks.gpu: torch finds no GPU, and nothing was measured\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("runs", ["0", "-1"])
def test_impossible_numbers_of_runs(runs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--runs", runs])
    with pytest.raises(SystemExit):
        gpu.main()
    assert f"argument --runs: must be 1 or more, got {runs}" in capsys.readouterr().err
