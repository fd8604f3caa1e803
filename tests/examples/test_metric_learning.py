"""The metric-learning losses without a bonus against the library's own."""

import copy

import pytest
import torch

pytest.importorskip("pytorch_metric_learning")
pytest.importorskip("sklearn")

from pytorch_metric_learning.miners import TripletMarginMiner

from examples.metric_learning import LOSSES, encouraging


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("mined", [False, True])
def test_without_bonus_it_is_the_loss_of_the_library(kind, mined):
    torch.manual_seed(0)
    theirs = kind(num_classes=5, embedding_size=6)
    ours = encouraging(copy.deepcopy(theirs), bonus="none")
    embeddings, labels = torch.randn(20, 6, requires_grad=True), torch.randint(5, (20,))
    indices = TripletMarginMiner(margin=0.5)(embeddings, labels) if mined else None
    results = []
    for loss_function in (ours, theirs):
        loss = loss_function(embeddings, labels, indices)
        results.append((loss, *torch.autograd.grad(loss, (embeddings, loss_function.W))))
    torch.testing.assert_close(*results)
