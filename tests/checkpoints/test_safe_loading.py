"""What loads, and what is refused."""

import os
import pickle
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
import torch

from el_plugins.checkpoints.safe_loading import load_checkpoint

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
checked = pytest.mark.skipif(RELEASE < (2, 6), reason="this torch does not check classes on loading")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm_was_done",)


def test_everything_fairseq_stores_loads(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    content = {
        "args": Namespace(arch="transformer"),
        "cfg": omegaconf.OmegaConf.create({"a": 1, "b": [1.5, None, {"c": True}], "s": "x"}),
        "best": np.float64(12.5),
        "counts": np.array([1, 2, 3]),
        "scores": np.array([0.5], dtype=np.float32),
        "count": np.int64(7),
        "model": {"w": torch.ones(2)},
    }
    torch.save(content, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert loaded["args"].arch == "transformer"
    assert loaded["cfg"] == content["cfg"]
    assert loaded["best"] == 12.5
    assert loaded["counts"].tolist() == [1, 2, 3]
    assert loaded["count"] == 7


@checked
def test_code_and_unknown_classes_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "x": Harmful()}, "harmful.pt")
    with pytest.raises(ValueError, match=r"cannot load checkpoint harmful\.pt"):
        load_checkpoint("harmful.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load("harmful.pt")  # what fairseq calls
    assert not (tmp_path / "harm_was_done").exists()
    torch.save({"x": subprocess.CompletedProcess([], 0)}, "unknown.pt")
    with pytest.raises(ValueError, match=r"cannot load checkpoint unknown\.pt"):
        load_checkpoint("unknown.pt")


@checked
def test_a_real_checkpoint_loads_only_with_the_plugin(trained):
    path = trained[0] / "checkpoint_last.pt"
    script = f"import torch; print(sorted(torch.load({str(path)!r})))"
    without = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "Weights only load failed" in without.stderr
    script = f"import fairseq, el_plugins; {script}"
    plugged = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "'cfg'" in plugged.stdout, plugged.stderr
