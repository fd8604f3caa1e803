import functools

import pytest
import torch

from el_plugins.losses.kernels import use


@pytest.fixture(params=["formula", "chunks"])
def path(request):
    """Every implementation that plain torch operations make up, in turn."""
    with use(request.param):
        yield request.param


@pytest.fixture
def formula():
    """The implementation that is differentiable twice and vmap-able."""
    with use("formula"):
        yield


@pytest.fixture
def full_graph():
    """``torch.compile`` into a single graph, where this torch can."""
    release = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if release < (2, 6):
        pytest.skip(f"torch {torch.__version__} cannot compile the losses into one graph")
    torch.compiler.reset()
    return functools.partial(torch.compile, fullgraph=True)
