"""The modules of the losses import each other in one direction only, imports inside functions included."""

import ast

from graphlib import TopologicalSorter

from tests.commands import REPOSITORY

SOURCES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (REPOSITORY / "el_plugins" / "losses").rglob("*.py")
}


def imported(name):
    """The modules of the losses that the module ``name`` imports."""
    for node in ast.walk(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in SOURCES else node.module


def test_there_is_no_circle():
    graph = {name: set(imported(name)) & set(SOURCES) for name in SOURCES}
    assert "el_plugins.losses.kernels.softmax_triton" in graph["el_plugins.losses.kernels.softmax_chunked"]
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order[-1] == "el_plugins.losses"
