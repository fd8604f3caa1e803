"""The store in which machines meet, and the variables that name them."""

import pytest

pytest.importorskip("submitit")

from el_plugins.nmt.benchmark import machines
from el_plugins.nmt.benchmark.launch import Machines, find_machines
from el_plugins.nmt.benchmark.machines import Leader, follow
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.settings import Launch
from tests import made_up
from tests.slurm import free_port


@pytest.fixture
def run(tmp_path):
    """A run on an empty corpus."""
    (tmp_path / "bin").mkdir()
    benchmark = made_up.settings(["el"], [1], folder=str(tmp_path / "bin"))
    return Run(benchmark, benchmark.systems[0], 1, tmp_path / "out")


@pytest.fixture
def impatient(monkeypatch):
    """Machines that wait a tenth of a second for each other."""
    monkeypatch.setattr(machines, "LIMIT", 0.1)
    monkeypatch.setattr(machines, "POLL", 0.01)


def test_the_end_of_a_run_that_was_trained_before_is_no_end_of_a_training(run):
    # The others wait for the training of the next number: none may be left out.
    leader = Leader(Machines(2, 0, "127.0.0.1", free_port() - 1))
    leader.end()  # of a run that was only translated
    leader.store.set("ready0/1", "ready")  # as the other machine answers the first training
    leader.begin(run)
    leader.end()
    assert leader.store.check(["begin0", "end0"])
    leader.end()
    assert not leader.store.check(["end1"])
    assert leader.number == 1


def test_a_machine_that_never_starts_is_named(run, impatient):
    leader = Leader(Machines(3, 0, "127.0.0.1", free_port() - 1))
    leader.store.set("ready0/1", "ready")
    with pytest.raises(RuntimeError, match="machine 2 did not answer within 0 minutes"):
        leader.begin(run)


def test_a_first_machine_that_never_starts_is_named(run, impatient):
    port = free_port()
    message = rf"127\.0\.0\.1:{port} did not answer within 0 minutes .*: start .* the first machine, too"
    with pytest.raises(RuntimeError, match=message):
        follow([run], Machines(2, 1, "127.0.0.1", port - 1))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"NODE_RANK": "2"}, "NODE_RANK must be 0 to 1, got 2"),
        ({"NODE_RANK": "1"}, "there are 2 machines: set MASTER_ADDR"),
        (
            {"NODE_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "abc"},
            "MASTER_PORT must be a number, got 'abc'",
        ),
    ],
)
def test_variables_are_named(variables, message):
    with pytest.raises(ValueError, match=message):
        find_machines(Launch(nodes=2), variables)
