"""The criterion over many updates and in several processes: no leak, the same bits, the same gradients."""

import subprocess
from pathlib import Path

import pytest
import torch

from tests.commands import PLUGIN, TINY_MODEL, TRAINING

pytest.importorskip("fairseq")

from el_plugins.nmt.training_log import training_line
from el_plugins.utils.commands import environment, find_command
from tests.fairseq_criterions.criteria import GLOO, assert_same_weights, processes, weights

pytestmark = pytest.mark.trust

UPDATES = 2000


def test_memory_does_not_grow(corpus, tmp_path, record_property):
    command = [
        find_command("fairseq-train"),
        corpus[1],
        "--user-dir",
        PLUGIN,
        "--criterion",
        "encouraging_ls",
        "--cpu",
    ]
    command += [*TINY_MODEL, *TRAINING, "--max-update", UPDATES, "--save-dir", tmp_path, "--no-save"]
    command += ["--disable-validation", "--bonus-warmup-updates", UPDATES]
    resident = {}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment()}
    with subprocess.Popen(list(map(str, command)), **options) as process:
        for line in process.stdout:
            figures = training_line(line)
            if "num_updates" in figures:
                pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
                resident[int(figures["num_updates"])] = int(pages)
    assert process.returncode == 0
    assert max(resident) == UPDATES
    warm = max(pages for update, pages in resident.items() if update <= UPDATES // 4)
    growth = max(resident.values()) / warm - 1
    record_property("growth of memory", f"{growth:.2%}")
    assert growth <= 0.01


def test_the_same_seed_gives_the_same_bits(train):
    one, two = (train("--max-update", 20)[0] for _ in range(2))
    assert_same_weights(one / "checkpoint_last.pt", two / "checkpoint_last.pt")


@pytest.mark.parametrize("number", [2, 4])
def test_the_gradient_of_several_processes(number, train):
    # One step of plain gradient descent at rate 1 is the gradient.
    step = [
        "--optimizer",
        "sgd",
        "--momentum",
        0,
        "--lr",
        1,
        "--clip-norm",
        0,
        "--dropout",
        0,
        "--max-update",
        1,
    ]
    one, _ = train(*step, "--update-freq", 4)
    several, output = train(*step, *GLOO, "--update-freq", 4 // number, launcher=processes(number))
    assert f"distributed_world_size': {number}" in output
    start, _ = train(*step, "--update-freq", 4, "--lr", 0)
    before, after, other = (weights(folder / "checkpoint_last.pt") for folder in (start, one, several))
    compared = [name for name in after if not torch.equal(before[name], after[name])]
    assert len(compared) > 20
    for name in compared:
        torch.testing.assert_close(other[name] - before[name], after[name] - before[name], rtol=0, atol=1e-6)
