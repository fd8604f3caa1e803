"""Which GPUs of a machine the benchmark's runs get."""

import os

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
