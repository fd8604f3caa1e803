"""Training together on several machines, each started with the same command.

The first machine prepares, announces each training, and evaluates; the others take part in the trainings.
They meet in a key-value store of the first machine's process, so nothing outlives that process, and compare
their settings before each training. Files are shared: the output must be on storage that all machines see.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from el_plugins.nmt.benchmark.launch import Machines
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.training import command
from el_plugins.utils.commands import environment
from el_plugins.utils.store import Store

POLL = 0.5  # seconds
LIMIT = 600.0  # seconds to wait for another machine
NO_MORE = "no more"


class Leader:
    """The first machine's side of the store; a context manager that tells the others when all is done."""

    def __init__(self, machines: Machines):
        self.machines = machines
        self.others = range(1, machines.count)
        self.store = Store(
            machines.address, machines.port + 1, is_master=True, wait_for_workers=False, timeout=_SHORT
        )
        self.number = 0
        self.is_training = False

    def begin(self, run: Run) -> None:
        """Announce the training of ``run``.

        Raises:
            RuntimeError: a machine did not answer in time, or has other settings.
        """
        self.is_training = True
        self.store.set(f"begin{self.number}", json.dumps([run.name, fingerprint(run)]))
        deadline = time.monotonic() + LIMIT
        for rank in self.others:
            key = f"ready{self.number}/{rank}"
            while not self.store.check([key]):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"machine {rank} did not answer within {LIMIT / 60:.0f} minutes")
                time.sleep(POLL)
            if self.store.get(key) != b"ready":
                raise RuntimeError(f"machine {rank} has other settings or data for {run.name} than this one")

    def end(self) -> None:
        """Say that the training is over, successful or not, if one was announced."""
        if self.is_training:
            self.is_training = False
            self.store.set(f"end{self.number}", "end")
            self.number += 1

    def __enter__(self) -> Leader:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.store.set(f"begin{self.number}", json.dumps([NO_MORE, ""]))
            # The store ends with this process, so wait until they have read it.
            deadline = time.monotonic() + 20
            while self.store.add("left", 0) < len(self.others) and time.monotonic() < deadline:
                time.sleep(POLL)


_SHORT = timedelta(seconds=30)


def follow(runs: Sequence[Run], machines: Machines) -> None:
    """Take part in every training that the first machine announces, until it is done.

    Raises:
        RuntimeError: the first machine cannot be reached in time, or stopped.
        ValueError: it has other settings or data.
    """
    store = _connect(machines)
    try:
        for number in itertools.count():
            _wait(store, f"begin{number}")
            name, expected = json.loads(store.get(f"begin{number}"))
            if name == NO_MORE:
                store.add("left", 1)
                return
            run = next((run for run in runs if run.name == name), None)
            if run is None or fingerprint(run) != expected:
                store.set(f"ready{number}/{machines.rank}", "other settings")
                raise ValueError(f"{name} has other settings or data here than on the first machine")
            store.set(f"ready{number}/{machines.rank}", "ready")
            print(f"training {name} with {machines.address}", flush=True)
            end = f"end{number}"
            status = join(run, machines, lambda key=end: store.check([key]))  # type: ignore[misc]
            if status:
                print(f"the training of {name} ended with status {status}: the first machine reports why")
            _wait(store, end)
    except RuntimeError as error:
        raise RuntimeError(f"the first machine has stopped: {error}") from error


def join(run: Run, machines: Machines, over: Callable[[], bool] = lambda: False) -> int:
    """Start this machine's processes of a training, and stop them once it is ``over``; the exit status."""
    log = run.folder / f"train.{machines.rank}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command(run, machines), stdout=file, stderr=subprocess.STDOUT, env=environment()
        ) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(POLL)
                if over():
                    process.terminate()
                    break
        except BaseException:
            process.terminate()
            raise
    return process.returncode


def fingerprint(run: Run) -> str:
    """Digest of what all machines must agree on."""
    return hashlib.sha256(json.dumps(run.training_settings, sort_keys=True).encode()).hexdigest()


def _connect(machines: Machines) -> Store:
    """The store, as soon as the first machine has it."""
    place = machines.address, machines.port + 1
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection(place, timeout=5).close()
            return Store(*place, is_master=False, wait_for_workers=False, timeout=_SHORT)
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{place[0]}:{place[1]} did not answer within {LIMIT / 60:.0f} minutes ({error}): "
                    "start the benchmark on the first machine, too, and check MASTER_ADDR and MASTER_PORT"
                ) from error
            time.sleep(POLL)


def _wait(store: Store, key: str) -> None:
    """Until the first machine sets ``key``; an error if it has stopped."""
    while not store.check([key]):
        time.sleep(POLL)
