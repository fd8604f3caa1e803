"""Small graphs in TU's files."""


def write_paths(root, name, count):
    """Write ``count`` paths of 2, 3, 4, ... nodes, of two classes in turn: a graph is known by its size."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    parts = {"A": [], "graph_indicator": [], "node_labels": [], "graph_labels": []}
    for number in range(1, count + 1):
        size = number + 1
        first = len(parts["graph_indicator"]) + 1
        for node in range(first, first + size - 1):
            parts["A"] += [f"{node}, {node + 1}", f"{node + 1}, {node}"]
        parts["graph_indicator"] += [number] * size
        parts["node_labels"] += [node % 2 for node in range(size)]
        parts["graph_labels"].append(number % 2)
    for part, lines in parts.items():
        (raw / f"{name}_{part}.txt").write_text("".join(f"{line}\n" for line in lines))
