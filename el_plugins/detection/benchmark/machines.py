"""Several machines that train together: they meet, compare their plans, and follow the first one."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

from torch.distributed import DistError

from el_plugins.utils.store import Store

STOPPED = "stopped"
POLL = 0.2  # seconds


class Machines:
    """The machines of a benchmark; a single one never waits.

    Args:
        count: how many there are.
        rank: which this one is; 0 decides.
        master: HOST:PORT of machine 0. Trainings use the next port.
        minutes: how long to wait for the others.

    Raises:
        RuntimeError: the others cannot be reached in time.
    """

    def __init__(self, count: int = 1, rank: int = 0, master: str = "", minutes: float = 120) -> None:
        self.count, self.rank, self.minutes = count, rank, minutes
        if count > 1:
            self.host, _, port = master.rpartition(":")
            self.port = int(port)
            limit = timedelta(minutes=minutes)
            try:
                self.store = Store(self.host, self.port, None, rank == 0, limit, wait_for_workers=False)
            except DistError as error:
                raise RuntimeError(
                    f"machine {rank} did not reach machine 0 at {master} within {minutes:g} minutes"
                ) from error

    @property
    def launch(self) -> list[str]:
        """train_net's arguments for these machines."""
        if self.count == 1:
            return []
        ranks = ["--num-machines", str(self.count), "--machine-rank", str(self.rank)]
        return [*ranks, "--dist-url", f"tcp://{self.host}:{self.port + 1}"]

    def meet(self, where: str, value: Any = None) -> list[Any]:
        """Wait until every machine is at ``where``; the values they brought, by rank.

        Raises:
            RuntimeError: one did not come in time, or stopped.
        """
        if self.count == 1:
            return [value]
        self._say(f"{where}/{self.rank}", value)
        return [self._hear(f"{where}/{rank}", rank, where) for rank in range(self.count)]

    def decide(self, what: str, value: Any = None) -> Any:
        """``value`` of machine 0, on every machine."""
        if self.count == 1:
            return value
        if self.rank == 0:
            self._say(what, value)
            return value
        return self._hear(what, 0, what)

    def stop(self, reason: str) -> None:
        """Tell the others that this machine has stopped."""
        if self.count > 1:
            try:
                self._say(STOPPED, f"machine {self.rank} stopped: {reason}")
                self.leave()
            except (DistError, RuntimeError):
                return  # nobody is there to be told

    def leave(self) -> None:
        """Leave; machine 0, which holds the store, waits until all have left."""
        if self.count == 1:
            return
        self._say(f"left/{self.rank}", None)
        if self.rank == 0:
            deadline = time.monotonic() + min(30, 60 * self.minutes)
            keys = [f"left/{rank}" for rank in range(self.count)]
            while not self.store.check(keys) and time.monotonic() < deadline:
                time.sleep(POLL)

    def _say(self, key: str, value: Any) -> None:
        self.store.set(key, json.dumps(value))

    def _hear(self, key: str, rank: int, where: str) -> Any:
        deadline = time.monotonic() + 60 * self.minutes
        try:
            while not self.store.check([key]):
                if self.store.check([STOPPED]):
                    raise RuntimeError(json.loads(self.store.get(STOPPED)))
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"machine {rank} did not get to {where!r} within {self.minutes:g} minutes: is it "
                        f"running with the same settings?"
                    )
                time.sleep(POLL)
            return json.loads(self.store.get(key))
        except DistError as error:
            raise RuntimeError(f"machine {self.rank} lost machine 0 while waiting for {where!r}") from error


def check_same(machines: Machines, plan: dict[str, Any]) -> None:
    """Compare ``plan`` between all machines before any of them trains.

    Raises:
        RuntimeError: two differ; the message names the machines and the entries.
    """
    plan = json.loads(json.dumps(plan))
    first, *others = machines.meet("comparing settings", plan)
    for rank, other in enumerate(others, start=1):
        if other != first:
            names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise RuntimeError(
                f"machines 0 and {rank} differ in {', '.join(names[:3])}{more}: start them with the same "
                "file, options and data, on an --output folder that they share"
            )
