"""The parts of a split, the epoch that is chosen, and when a late bonus comes."""

import pytest
from torch import nn

for package in ("accelerate", "timm", "torchvision", "torch_geometric", "rdkit"):
    pytest.importorskip(package)

from experiments.studies import graphs
from experiments.studies.settings import Settings
from tests.experiments.studies.graph_files import write_paths
from tests.experiments.studies.named_losses import named

COUNT = 20


@pytest.fixture
def settings(tmp_path):
    write_paths(tmp_path, "PATHS", COUNT)
    return Settings(data="PATHS", root=str(tmp_path), epochs=4, batch_size=8)


def sizes(batches):
    return [graph.num_nodes for batch in batches for graph in batch.to_data_list()]


def test_a_part_chooses_the_epoch_and_another_is_scored(settings, monkeypatch):
    trained, measured = set(), []

    class Watched(graphs.SAGNet):
        def forward(self, data):
            trained.update(sizes([data]))
            return super().forward(data)

    def accuracy(model, loader, device):
        measured.append(frozenset(sizes(loader)))
        epoch = measured.count(measured[0])
        return {1: 50.0, 2: 70.0, 3: 60.0, 4: 70.0}[epoch] if measured[-1] == measured[0] else 10.0 * epoch

    monkeypatch.setattr(graphs, "SAGNet", Watched)
    monkeypatch.setattr(graphs, "accuracy", accuracy)
    result = graphs.run(settings, graphs.System(nn.CrossEntropyLoss()), 1)
    assert result == {"accuracy": 20.0}  # of the first of the two best epochs
    chooses, *_ = measured
    (scored,) = {*measured} - {chooses}
    assert sorted([*trained, *chooses, *scored]) == [*range(2, COUNT + 2)]
    assert len(chooses) == len(scored) == COUNT // 10


@pytest.mark.parametrize(("deferred", "early"), [(0.25, 1), (0.5, 2)])
def test_a_late_loss_takes_over_after_its_share_of_the_epochs(settings, deferred, early):
    calls = []
    settings.deferred = deferred
    graphs.run(settings, graphs.System(named("first", calls), named("late", calls)), 1)
    steps = 2  # an epoch
    assert calls == ["first"] * early * steps + ["late"] * (4 - early) * steps
    calls.clear()
    graphs.run(settings, graphs.System(named("only", calls)), 1)
    assert calls == ["only"] * 4 * steps
