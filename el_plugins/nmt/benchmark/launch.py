"""How one training is started: in one process, or by torchrun in several, on one machine or more."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from submitit.slurm.slurm import SlurmJobEnvironment

from el_plugins.nmt.benchmark.settings import Benchmark, Launch

# fairseq's default backends need GPUs.
CPU = ["--cpu", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]
PORT = 29500


@dataclass(frozen=True)
class Machines:
    """The machines that train together, and which of them this is.

    Args:
        rank: 0 for the first machine, which prepares, translates and reports.
        address: of the first machine.
        port: of torchrun on the first machine; the next one is the benchmark's own.
    """

    count: int = 1
    rank: int = 0
    address: str = ""
    port: int = PORT


def find_machines(launch: Launch, environment: Mapping[str, str] = os.environ) -> Machines:
    """The machines of a run, by NODE_RANK, MASTER_ADDR and MASTER_PORT, else by SLURM's variables.

    Raises:
        ValueError: there are several, and a variable is missing, no number or out of range.
    """
    if launch.nodes == 1:
        return Machines()
    text = environment.get("NODE_RANK", environment.get("SLURM_NODEID", ""))
    if not text.isdigit() or int(text) >= launch.nodes:
        raise ValueError(f"NODE_RANK must be 0 to {launch.nodes - 1}, got {text or 'nothing'}")
    address = environment.get("MASTER_ADDR")
    if not address and environment.get("SLURM_JOB_NODELIST"):
        address = SlurmJobEnvironment().hostnames[0]
    if not address:
        raise ValueError(f"there are {launch.nodes} machines: set MASTER_ADDR to the first machine's address")
    # Jobs of SLURM may share a node, so each has ports of its own.
    default = PORT + 2 * (int(environment.get("SLURM_JOB_ID", 0)) % 10_000)
    port = environment.get("MASTER_PORT", str(default))
    if not port.isdigit():
        raise ValueError(f"MASTER_PORT must be a number, got {port!r}")
    return Machines(launch.nodes, int(text), address, int(port))


def launcher(launch: Launch, machines: Machines) -> list[str]:
    """The command that takes fairseq-train's arguments and starts this machine's processes."""
    if launch.world_size() == 1:
        return ["fairseq-train"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(launch.processes)]
    if launch.nodes == 1:
        # It chooses a free port, so that several runs can train on one machine.
        torchrun += ["--standalone", "--local_addr", "127.0.0.1"]
    else:
        torchrun += ["--nnodes", str(machines.count), "--node_rank", str(machines.rank)]
        torchrun += ["--master_addr", machines.address, "--master_port", str(machines.port)]
    return [*torchrun, "-m", "el_plugins.nmt.benchmark.worker"]


def match_batch(benchmark: Benchmark, any_batch: bool = False) -> None:
    """Make every update have ``tokens_per_update`` tokens, whatever the number of processes.

    Appends ``--update-freq`` to a system's arguments unless it is given.

    Args:
        any_batch: allow another number of tokens.

    Raises:
        ValueError: the arguments give another number of tokens.
    """
    wanted = benchmark.tokens_per_update
    if wanted is None:
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--max-tokens")
    parser.add_argument("--update-freq")
    workers, lines = benchmark.launch.world_size(), set()
    for system in benchmark.systems:
        words = shlex.split(f"{benchmark.train} {system.arguments}")
        given = parser.parse_known_args(words)[0]
        for name, value in vars(given).items():
            if value is not None and not (value.isdigit() and int(value)):
                flag = name.replace("_", "-")
                raise ValueError(f"with tokens_per_update, --{flag} must be a whole number, got {value}")
        if given.max_tokens is None:
            raise ValueError("with tokens_per_update, the training arguments must have --max-tokens")
        tokens = int(given.max_tokens)
        if given.update_freq is None:
            given.update_freq = str(max(1, wanted // (workers * tokens)))
            system.arguments = f"{system.arguments} --update-freq {given.update_freq}".strip()
        effective = workers * tokens * int(given.update_freq)
        lines.add(
            f"{workers} x {tokens} tokens x {given.update_freq} = {effective} tokens per update; "
            f"the recipe has {wanted}"
        )
        if effective != wanted and not any_batch:
            raise ValueError(
                f"{effective} tokens per update are not the recipe's {wanted}: change --max-tokens or "
                "--update-freq, or allow it with --any-batch (the recipes: ANY_BATCH=1)"
            )
    print(*sorted(lines), sep="\n")
