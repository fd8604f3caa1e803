import functools
import os

import pytest
import torch

from el_plugins.losses.kernels import backends, use


@pytest.fixture
def no_way_back(monkeypatch):
    """Code that cannot be compiled must not pass unseen by plain operations."""
    if not backends.can_compile():
        pytest.skip("no C++ compiler")
    torch.compiler.reset()
    backends.compiled.cache_clear()
    monkeypatch.setattr(backends, "guarded", lambda fast, slow: fast)
    yield
    backends.compiled.cache_clear()


# Chosen before Python starts: see test_triton.py.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture(
    params=[
        "formula",
        "chunks",
        pytest.param("compiled", marks=pytest.mark.long),
        *(["triton"] if INTERPRETED else []),
    ]
)
def path(request):
    """Every implementation that runs on a CPU, in turn."""
    if request.param == "compiled":
        request.getfixturevalue("no_way_back")
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
