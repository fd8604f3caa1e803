"""Machines that wait for each other, as threads with real stores on this one."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from el_plugins.detection.benchmark.machines import Machines, check_same
from el_plugins.detection.benchmark.settings import System


def together(*works, minutes=1.0):
    """What each work, given its machine, returned; or its RuntimeError's message."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        master = f"127.0.0.1:{server.getsockname()[1]}"

    def start(rank):
        try:
            machines = Machines(len(works), rank, master, minutes)
            result = works[rank](machines)
            machines.leave()
            return result
        except RuntimeError as error:
            machines.stop(str(error))
            return str(error)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(start, range(len(works))))


def test_they_meet_and_the_first_decides():
    def work(machines):
        return machines.meet("here", machines.rank * 10), machines.decide("go", machines.rank == 0)

    assert together(work, work, work) == [([0, 10, 20], True)] * 3


def test_a_single_machine_never_waits():
    machines = Machines()
    assert machines.meet("here", 3) == [3]
    assert machines.decide("go", True)
    assert machines.launch == []
    machines.leave()


def test_who_does_not_come_is_named_in_time():
    first, second = together(lambda m: m.meet("the start"), lambda m: m.leave(), minutes=0.02)
    assert "machine 1 did not get to 'the start' within 0.02 minutes" in first
    assert second is None


def test_a_master_that_is_not_there_is_named_in_time():
    with pytest.raises(
        RuntimeError, match=r"machine 1 did not reach machine 0 at 127\.0\.0\.1:9 within 0\.02 minutes"
    ):
        Machines(2, 1, "127.0.0.1:9", 0.02)


def test_who_stops_tells_the_others():
    def stops(machines):
        raise RuntimeError("no data")

    first, second = together(stops, lambda m: m.meet("the start"))
    assert first == "no data"
    assert second == "machine 0 stopped: no data"


def test_a_run_that_cannot_begin_keeps_no_machine_waiting(tmp_path):
    runs = pytest.importorskip("el_plugins.detection.benchmark.runs")
    (tmp_path / "file").touch()

    def work(machines):
        run = runs.Run(None, System(name="focal"), 1, tmp_path / "file", 1, machines, {})
        if machines.rank == 0:
            with pytest.raises(NotADirectoryError):
                run()
        else:
            run()

    assert together(work, work, minutes=0.1) == [None, None]


def test_different_plans_are_named():
    plans = [{"a": 1, "b": (1, 2)}, {"a": 1, "b": (2, 1)}]
    messages = together(*(lambda m, plan=plan: check_same(m, plan) for plan in plans))
    assert all("machines 0 and 1 differ in b: start them" in message for message in messages)
    assert together(*(lambda m: check_same(m, plans[0]),) * 2) == [None, None]
