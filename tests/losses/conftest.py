import functools

import pytest
import torch


@pytest.fixture
def full_graph():
    """``torch.compile`` into a single graph, where this torch can."""
    release = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if release < (2, 6):
        pytest.skip(f"torch {torch.__version__} cannot compile the losses into one graph")
    torch.compiler.reset()
    return functools.partial(torch.compile, fullgraph=True)
