"""The arrows of docs/design.md: what may import what, and no circle, imports inside functions included."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from tests.commands import REPOSITORY

PACKAGES = ("el_plugins", "fairseq_criterions", "detectron2_heads", "experiments")


def modules():
    """Every module by its dotted name."""
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


FILES = dict(modules())


def imports(path: Path) -> set[str]:
    """The modules of this project that a file names in its imports."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= (submodules & FILES.keys()) or {node.module}
    return named & FILES.keys()


GRAPH = {name: imports(path) for name, path in FILES.items()}


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def arrows(*packages: str) -> set[str]:
    """What the modules of ``packages`` import from elsewhere in the project."""
    inside = [targets for name, targets in GRAPH.items() if within(name, *packages)]
    assert inside
    return {target for targets in inside for target in targets if not within(target, *packages)}


def test_there_is_no_circle():
    list(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names it


def test_losses_import_no_other_package_of_ours():
    assert not arrows("el_plugins.losses")


def test_adapters_import_losses_and_no_tools():
    # Checkpoints of fairseq load safely once its adapter is imported.
    assert arrows("fairseq_criterions") <= {"el_plugins.checkpoints.safe_loading", *losses()}
    heads = [name for name in FILES if within(name, "detectron2_heads") and not name.endswith(".train_net")]
    targets = set().union(*(GRAPH[name] for name in heads))
    assert {target for target in targets if not within(target, "detectron2_heads")} <= losses()
    assert arrows("el_plugins.integrations") <= losses()


def test_tools_import_what_the_page_says():
    allowed = {
        "el_plugins.nmt": (
            "fairseq_criterions",
            "el_plugins.checkpoints",
            "el_plugins.metrics",
            "el_plugins.utils",
        ),
        "el_plugins.detection": ("detectron2_heads", "el_plugins.utils"),
        "el_plugins.checkpoints": ("el_plugins.utils",),
        "el_plugins.metrics": (),
        "el_plugins.utils": (),
    }
    for package, targets in allowed.items():
        assert not {target for target in arrows(package) if not within(target, *targets)}


def losses() -> set[str]:
    return {name for name in FILES if within(name, "el_plugins.losses")}


def test_what_is_in_the_wheel_does_not_import_experiments():
    assert not arrows("el_plugins", "fairseq_criterions", "detectron2_heads")


def test_no_progress_bar_in_a_log():
    for package in (*PACKAGES, "benchmarks"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tqdm":
                    options = {word.arg for word in node.keywords}
                    assert "disable" in options, (
                        f"{path}:{node.lineno}: disable=None, so that logs have no bar"
                    )
