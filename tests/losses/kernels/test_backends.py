"""Which implementation is chosen, by input, caller, thread and graph."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import backends, use


def test_choice_of_path():
    small, large = torch.zeros(2, 3), torch.zeros(1, 1).expand(3000, 2000)
    assert backends.chosen(small) == "chunks"
    assert backends.chosen(large) == ("compiled" if backends.can_compile() else "chunks")
    with use("formula"):
        assert backends.chosen(large) == "formula"
        with use("chunks"):
            assert backends.chosen(large) == "chunks"
        assert backends.chosen(large) == "formula"
    with pytest.raises(ValueError, match=r"path must be one of auto, .* got 'fast'"), use("fast"):
        pass


def test_each_thread_chooses_for_itself():
    x = torch.zeros(2, 3)
    inside, leave = threading.Event(), threading.Event()

    def other():
        with use("formula"):
            inside.set()
            leave.wait(60)
            return backends.chosen(x)

    with ThreadPoolExecutor(1) as pool:
        with use("chunks"):
            there = pool.submit(other)
            inside.wait(60)
            assert backends.chosen(x) == "chunks"
        leave.set()
        assert there.result() == "formula"
    assert backends._chosen.get() == "auto"
    assert backends.is_auto()


def test_a_path_chosen_inside_a_compiled_function(full_graph):
    def loss(z, target):
        with use("chunks"):
            return encouraging_loss(z, target)

    z, target = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(full_graph(loss)(z, target), loss(z, target))
