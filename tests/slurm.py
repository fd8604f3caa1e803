"""A real SLURM of one node on this machine, without accounting, for the time of a test."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGES = ("slurm-wlm", "munge")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def install():
    """Install Debian's packages if they are missing; skip the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("SLURM can only be started by root")
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))):
        if not shutil.which("apt-get"):
            pytest.skip("SLURM is not installed, and there is no apt-get to install it")
        command = ["apt-get", "install", "--yes", "--quiet", *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot install {' '.join(PACKAGES)}: {done.stderr.strip().splitlines()[-1:]}")


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def control(*words):
    """``scontrol`` with ``words``; what it printed."""
    return subprocess.run(["scontrol", *words], capture_output=True, text=True, check=True).stdout


@contextmanager
def cluster(folder: Path):
    """Start SLURM with everything of it in ``folder``; yields the node's name. Ends what it started."""
    install()
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    ports = {"ctld_port": free_port(), "d_port": free_port()}
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, host=host, cpus=os.cpu_count(), **ports))
    own = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("key-file", "pid-file", "log-file")]
    daemons = [
        [
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge.socket",
            *own,
            f"--seed-file={folder}/seed",
        ],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration), "-N", host],
    ]
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(configuration)
    started = []
    try:
        for command in daemons:
            log = (folder / f"{command[0]}.out").open("w")
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(1)
        wait_for_node(host, "idle", folder)
        yield host
    finally:
        subprocess.run(["scancel", "--user=root"], check=False)
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def wait_for_node(host, state, folder, seconds=60):
    """Wait until ``sinfo`` says that the node is in ``state``."""
    deadline = time.monotonic() + seconds
    while True:
        sinfo = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False)
        if sinfo.stdout.strip() == state:
            return
        if time.monotonic() > deadline:
            logs = "".join(path.read_text()[-1500:] for path in folder.glob("*.out"))
            raise RuntimeError(f"the node {host} is {sinfo.stdout!r}, {sinfo.stderr!r}, not {state}: {logs}")
        time.sleep(0.5)
