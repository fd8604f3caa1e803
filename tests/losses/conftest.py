import functools
import os

import pytest
import torch

from el_plugins.losses.kernels import backends, compile_cache, linear_function, use
from tests.marks import long


@pytest.fixture
def no_fallback(monkeypatch):
    """Raise what fails to compile, which would otherwise be computed by plain operations with a warning."""
    if not backends.can_compile():
        pytest.skip("no C++ compiler")
    torch.compiler.reset()
    compile_cache.compiled.cache_clear()
    monkeypatch.setattr(compile_cache, "with_fallback", lambda fast, slow: fast)
    yield
    compile_cache.compiled.cache_clear()


# Set before Python starts: see test_triton.py and test_gpu.py.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = os.environ.get("TEST_DEVICE") == "cuda"
if ON_GPU:
    torch.set_default_device("cuda")  # before the tests' constants are made


@pytest.fixture(
    params=[
        "formula",
        "chunks",
        *long("compiled"),
        *(["triton"] if INTERPRETED or ON_GPU else []),
    ]
)
def path(request):
    """Every implementation that runs here, in turn."""
    if request.param == "compiled":
        request.getfixturevalue("no_fallback")
    with use(request.param):
        yield request.param


@pytest.fixture
def formula():
    """The implementation that is twice differentiable."""
    with use("formula"):
        yield


@pytest.fixture(params=["formula", "chunks", "auto"])
def small_chunks(request, monkeypatch):
    """Three rows at a time of the linear form, so that every test goes through several chunks."""
    monkeypatch.setattr(linear_function, "rows_at_a_time", lambda *_: 3)
    with use(request.param):
        yield request.param


@pytest.fixture
def full_graph():
    """``torch.compile`` into a single graph, where this torch supports it."""
    release = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if release < (2, 6):
        pytest.skip(f"torch {torch.__version__} cannot compile the losses into one graph")
    torch.compiler.reset()
    return functools.partial(torch.compile, fullgraph=True)
