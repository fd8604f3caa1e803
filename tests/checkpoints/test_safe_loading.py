"""What loads, and what is refused."""

import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace

import pytest
import torch
from torch.nn import Parameter

from el_plugins.checkpoints import safe_loading
from el_plugins.checkpoints.safe_loading import load_checkpoint

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
checked = pytest.mark.skipif(RELEASE < (2, 6), reason="this torch does not check classes on loading")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm_was_done",)


@pytest.fixture(params=["this torch", "older torch"])
def release(request, monkeypatch):
    """Whether the check is torch's own or, as before 2.6, ours."""
    if request.param == "older torch":
        monkeypatch.setattr(safe_loading, "_takes_names", lambda: False)
    return request.param


def test_everything_fairseq_stores_loads(release, tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    np = pytest.importorskip("numpy")
    content = {
        "args": Namespace(arch="transformer"),
        "cfg": omegaconf.OmegaConf.create({"a": 1, "b": [1.5, None, {"c": True}], "s": "x"}),
        "best": np.float64(12.5),
        "counts": np.array([1, 2, 3]),
        "scores": np.array([0.5], dtype=np.float32),
        "count": np.int64(7),
        "model": {
            "w": torch.ones(2),
            "h": torch.ones(2, dtype=torch.bfloat16),
            "p": Parameter(torch.ones(1)),
        },
    }
    torch.save(content, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_checkpoint(tmp_path / "old.pt")["args"] == loaded["args"]
    assert torch.equal(loaded["model"]["h"], content["model"]["h"])
    assert loaded["args"].arch == "transformer"
    assert loaded["cfg"] == content["cfg"]
    assert loaded["best"] == 12.5
    assert loaded["counts"].tolist() == [1, 2, 3]
    assert loaded["count"] == 7


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_and_unknown_classes_are_refused(release, is_zip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "x": Harmful()}, "harmful.pt", _use_new_zipfile_serialization=is_zip)
    message = r"cannot load checkpoint harmful\.pt: it carries posix\.mkdir, which is no part of a checkpoint"
    with pytest.raises(ValueError, match=message):
        load_checkpoint("harmful.pt")
    torch.save({"x": subprocess.CompletedProcess([], 0)}, "unknown.pt")
    with pytest.raises(ValueError, match=r"unknown\.pt: it carries \w+\.CompletedProcess"):
        load_checkpoint("unknown.pt")
    assert not (tmp_path / "harm_was_done").exists()
    load_checkpoint("harmful.pt", unsafe=True)
    assert (tmp_path / "harm_was_done").exists()


class Program(torch.nn.Module):
    @torch.jit.export
    def __getstate__(self):
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "harm_was_done")
        self.training = state[1]


def test_a_torchscript_program_is_refused_and_not_run(release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.script(Program()), "program.pt")
    with pytest.raises(
        ValueError, match=r"program\.pt: it carries torch\.jit\.ScriptModule, .* may run code"
    ):
        load_checkpoint("program.pt")
    assert not (tmp_path / "harm_was_done").exists()


@checked
def test_fairseqs_own_loading_refuses_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "x": Harmful()}, "harmful.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load("harmful.pt")  # what fairseq calls
    assert not (tmp_path / "harm_was_done").exists()


def test_classes_themselves_cannot_be_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_loading, "_takes_names", lambda: False)
    # Namespace, the state (None, {"harm": True}) and the opcode that sets it.
    code = b"\x80\x02cargparse\nNamespace\nN}X\x04\x00\x00\x00harm\x88s\x86b."
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        for name, content in (("data.pkl", code), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"c/{name}", content)
    with pytest.raises(ValueError, match="it changes a class or a function"):
        load_checkpoint(tmp_path / "c.pt")
    assert not hasattr(Namespace, "harm")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"hello\n", "it is no file of torch.save"),
        (b"PK\x03\x04 and no more", "it is damaged or cut short"),
        (pickle.dumps([1]), "it is damaged, or no file of torch.save"),
    ],
)
def test_what_is_no_checkpoint_is_told_why(release, content, why, tmp_path):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"cannot load checkpoint .*c\.pt: {why}") as raised:
        load_checkpoint(tmp_path / "c.pt")
    assert "weights_only" not in str(raised.value)  # torch's advice to switch the check off


@checked
def test_a_real_checkpoint_loads_only_with_the_plugin(trained):
    path = trained[0] / "checkpoint_last.pt"
    script = f"import torch; print(sorted(torch.load({str(path)!r})))"
    without = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "Weights only load failed" in without.stderr
    script = f"import fairseq, el_plugins; {script}"
    plugged = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "'cfg'" in plugged.stdout, plugged.stderr
