"""A checkpoint whose copy was cut short."""

import shutil
import sys

import pytest
import torch

from tests.commands import run

pytest.importorskip("fairseq")

from el_plugins.checkpoints import repair


def test_a_killed_repair_is_begun_again(tmp_path, monkeypatch):
    torch.save({}, tmp_path / "checkpoint1.pt")
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(b"PK cut short")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(repair.shutil, "copy", killed)
        with pytest.raises(KeyboardInterrupt):
            repair.repair_last(tmp_path)
    repair.repair_last(tmp_path)
    assert last.read_bytes() == (tmp_path / "checkpoint1.pt").read_bytes()


def test_a_file_of_torchs_older_format_is_left_alone(tmp_path):
    last = tmp_path / "checkpoint_last.pt"
    torch.save({"a": 1}, last, _use_new_zipfile_serialization=False)
    before = last.read_bytes()
    repair.repair_last(tmp_path)
    assert last.read_bytes() == before
    last.write_bytes(b"")
    repair.repair_last(tmp_path)
    assert not last.exists()


def test_a_copy_cut_short_is_made_again(trained, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(trained[0], checkpoints)
    last = checkpoints / "checkpoint_last.pt"
    whole = last.read_bytes()
    repair.repair_last(checkpoints)
    assert last.read_bytes() == whole
    last.write_bytes(whole[: len(whole) // 2])
    run(sys.executable, "-m", "el_plugins.checkpoints.repair", checkpoints)
    assert (
        last.read_bytes()
        == max(checkpoints.glob("checkpoint*[0-9].pt"), key=lambda path: path.stat().st_mtime).read_bytes()
    )
    for path in checkpoints.iterdir():
        path.write_bytes(whole[:1000])
    repair.repair_last(checkpoints)
    assert not last.exists()
