"""Which GPUs of a machine the benchmark's runs get, and which of SLURM's jobs have ended."""

import os
from types import SimpleNamespace

import pytest

pytest.importorskip("submitit")

import torch

from el_plugins.nmt.benchmark.schedule import Schedule, gpu_groups, visible_gpus


def test_only_the_gpus_that_are_left_to_this_process():
    assert visible_gpus(2, None) == [0, 1]
    assert visible_gpus(2, "2,3") == [2, 3]
    assert visible_gpus(1, "5, -1") == [5]
    assert visible_gpus(0, "") == []
    with pytest.raises(ValueError, match="by numbers for --cluster local, got 'GPU-8d1f'"):
        visible_gpus(1, "GPU-8d1f")


def test_a_run_has_its_gpus_for_itself():
    assert gpu_groups([0, 1, 2], 1) == [[0], [1], [2]]
    assert gpu_groups([4, 5, 6, 7, 8], 2) == [[4, 5], [6, 7]]
    with pytest.raises(ValueError, match="at most the 1 GPUs of this machine, got 2"):
        gpu_groups([0], 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="runs on the CPU share it")
def test_jobs_share_the_threads(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Schedule("local", tmp_path, 1, {}).free == [[]]
    assert "OMP_NUM_THREADS" not in os.environ
    assert Schedule("local", tmp_path, 1, {}, jobs=2).free == [[], []]
    assert os.environ["OMP_NUM_THREADS"] == str(max(1, torch.get_num_threads() // 2))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    Schedule("local", tmp_path, 1, {}, jobs=2)
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"slurm_partitoin": "main"}, "Unknown argument 'partitoin' for executor 'slurm'"),
        ({"slurm_additional_parameters": ["requeue"]}, "'list' object is not a mapping"),
        ({"cpus_per_task": "four"}, "\"cpus_per_task\" expected type <class 'int'>"),
    ],
)
def test_bad_parameters_of_a_cluster_are_named(parameters, message, tmp_path):
    with pytest.raises(ValueError, match=f"(?s)cluster must hold submitit's parameters: .*{message}"):
        Schedule("local", tmp_path, 1, parameters)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder whose programs are found before all others; submitit looks for SLURM's srun."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    write_command(folder / "srun", "")
    return folder


def write_command(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_no_job_has_ended_while_slurm_does_not_answer(commands, tmp_path):
    schedule = Schedule("slurm", tmp_path / "jobs", 1, {})
    jobs = {"queued": SimpleNamespace(job_id="12"), "gone": SimpleNamespace(job_id="1")}
    # A list that breaks off is no answer.
    write_command(commands / "squeue", "echo 7; echo 'squeue: error: Unable to contact' >&2; exit 1")
    assert schedule.ended(jobs) == []
    write_command(commands / "squeue", "echo 12; echo 7")
    assert schedule.ended(jobs) == ["gone"]


def test_nothing_is_submitted_while_slurm_does_not_answer(commands, tmp_path):
    write_command(commands / "squeue", "exit 1")
    write_command(commands / "sbatch", f"touch {tmp_path / 'submitted'}; exit 1")
    run = SimpleNamespace(name="el/seed1", result=tmp_path / "result.json")
    with pytest.raises(RuntimeError, match="cannot tell which runs are in SLURM's queue already"):
        Schedule("slurm", tmp_path / "jobs", 1, {}).execute([run])
    assert not (tmp_path / "submitted").exists()
