"""The IWSLT recipes on several machines and inside SLURM."""

import pytest

from tests.commands import run

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")
pytest.importorskip("submitit")

from tests.run_scripts.iwslt_recipe import ENVIRONMENT, SMALL, prepared, recipe, start
from tests.slurm import free_port


def two_machines():
    """Variables of two machines, both of them this one."""
    return {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}


@pytest.mark.long
def test_two_machines(de_en, de_en_script, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    common = {**two_machines(), "GLOO_SOCKET_IFNAME": "lo"}
    command = [de_en_script, output, archives["de"], "--loss", "ce el", "--", *SMALL, "--max-update", "10"]
    with start(*command, **common, NODE_RANK="1") as second:
        recipe(*command, **common, NODE_RANK="0")
        printed = second.communicate(timeout=120)[0]
    assert second.returncode == 0, printed[-3000:]
    for loss in ("ce", "el"):
        folder = output / "runs" / loss / "seed1"
        assert f"training {loss}/seed1 with 127.0.0.1" in printed
        assert "training on 2 devices" in (folder / "train.log").read_text()
        assert (folder / "train.1.log").exists()
        assert (folder / "result.json").exists()
    assert "ended with status" not in printed


@pytest.mark.long
def test_machines_with_other_settings(de_en, de_en_script, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    common = two_machines()
    command = [de_en_script, output, archives["de"], "--loss", "el", "--", *SMALL, "--max-update"]
    with start(*command, "11", **common, NODE_RANK="1") as second:
        first = recipe(*command, "10", **common, NODE_RANK="0", check=False)
        printed = second.communicate(timeout=120)[0]
    assert "machine 1 has other settings or data for el/seed1 than this one" in first
    assert "el/seed1 has other settings or data here than on the first machine" in printed
    assert not (output / "runs" / "el" / "seed1" / "checkpoints").exists()


def test_machines_of_a_slurm_job(de_en_script, tmp_path):
    job = {"SLURM_NNODES": "2", "SLURM_NODEID": "1", "DRY_RUN": "1", "PROCESSES": "2"}
    words = ("bash", de_en_script, "--loss", "el_ls", "--seeds", "1", "--output", tmp_path / "out")
    launch = "--nproc_per_node 2 --nnodes 2 --node_rank 1 --master_addr"
    printed = run(*words, env={**ENVIRONMENT, **job, "MASTER_ADDR": "10.0.0.1"})
    assert f"{launch} 10.0.0.1" in printed
    assert "fairseq-generate" not in printed  # the first machine translates
    assert "there are 2 machines: set MASTER_ADDR" in run(*words, env={**ENVIRONMENT, **job}, check=False)
    assert f"{launch} node7" in run(*words, env={**ENVIRONMENT, **job, "SLURM_JOB_NODELIST": "node[7-8]"})
