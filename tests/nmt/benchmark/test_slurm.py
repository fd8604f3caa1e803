"""``el-nmt-benchmark --cluster slurm`` on a real SLURM whose node goes down while it trains."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import slurm
from tests.commands import run, wait_until

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

pytestmark = pytest.mark.long

ONE_CORE = "cluster: {slurm_cpus_per_task: 1, slurm_setup: [export OMP_NUM_THREADS=1]}"


@pytest.fixture
def node(tmp_path_factory):
    """SLURM's node, as long as the test lasts."""
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as name:
        yield name


def test_a_node_taken_down_in_mid_run(node, tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=60, updates=600, average=3, more=ONE_CORE)
    run("el-nmt-benchmark", settings, "--output", tmp_path / "local")
    command = [str(Path(sys.executable).with_name("el-nmt-benchmark")), str(settings)]
    command += ["--output", str(tmp_path / "slurm"), "--cluster", "slurm", "--hours", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        folder = tmp_path / "slurm" / "runs" / "el" / "seed1"
        wait_until((folder / "checkpoints" / "checkpoint5.pt").exists, process, 300)
        slurm.control("update", f"nodename={node}", "state=down", "reason=test")
        assert "Restarts=1" in slurm.control("show", "job")
        assert not (folder / "result.json").exists()
        # A node that still has processes of the job would be drained when the job comes again.
        while (
            subprocess.run(["pgrep", "-f", r"slurmstepd: \[1\."], stdout=subprocess.DEVNULL).returncode == 0
        ):
            time.sleep(0.5)
        slurm.wait_for_node(node, "idle", tmp_path)  # it comes back by itself
        # SLURM waits two minutes before it starts a requeued job, long enough for the node to be cleaned up.
        slurm.control("update", "jobid=1", "starttime=now+20")
        printed = process.communicate(timeout=400)[0]
    assert process.returncode == 0, printed
    assert "Loaded checkpoint" in (folder / "train.log").read_text()
    resumed, expected = (
        json.loads((tmp_path / where / "runs/el/seed1/result.json").read_text())
        for where in ("slurm", "local")
    )
    assert resumed["scores"] == expected["scores"]


def test_a_lost_terminal_leaves_runs_that_the_next_start_finds(node, tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=60, updates=300, average=1, more=ONE_CORE)
    output = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("el-nmt-benchmark")), str(settings)]
    command += ["--output", str(output), "--cluster", "slurm"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until((output / "runs" / "el" / "seed1" / "train.log").exists, process)
        process.kill()
    number = slurm.control("--oneliner", "show", "job").split()[0].removeprefix("JobId=")
    other = settings.read_text().replace("beam 2", "beam 3")
    assert other != settings.read_text()
    (tmp_path / "other.yaml").write_text(other)
    refused = run("el-nmt-benchmark", tmp_path / "other.yaml", *command[2:], check=False)
    assert f"el/seed1 is SLURM's job {number} with other settings" in refused
    assert "in SLURM's queue already: el/seed1" in run(*command)
    assert len(slurm.control("--oneliner", "show", "job").splitlines()) == 1
    assert (output / "report.md").exists()


def test_a_training_of_two_processes(node, tiny_settings, tmp_path):
    more = f"{ONE_CORE}\nlaunch: {{processes: 2}}"
    settings = tiny_settings(tmp_path / "tiny.yaml", tokens=300, updates=4, average=1, more=more)
    run("el-nmt-benchmark", settings, "--output", tmp_path / "out", "--cluster", "slurm")
    folder = tmp_path / "out" / "runs" / "el" / "seed1"
    assert "training on 2 devices" in (folder / "train.log").read_text()
    assert (folder / "result.json").exists()
