"""What each remedy for a long tail hands to the training."""

import pytest
import torch

for package in ("accelerate", "timm", "sklearn", "torchvision"):
    pytest.importorskip(package)

from experiments.studies import long_tail, training
from experiments.studies.settings import Settings


@pytest.fixture
def fitted(monkeypatch):
    """(loss, other options) of each training of a system; nothing is trained."""

    def run(name):
        calls = []
        monkeypatch.setattr(
            training, "fit", lambda model, data, loss, settings, **options: calls.append((loss, options))
        )
        measured = long_tail.run(Settings(), long_tail.STUDY.systems[name], 1)
        assert measured.keys() == {"overall", "many", "medium", "few"}
        return calls

    return run


def test_re_weighting_comes_later_with_the_weights_of_the_classes(fitted):
    counts = long_tail.long_tailed(Settings(), 1).labels.bincount()
    ((_, plain),) = fitted("CE")
    assert plain["deferred"] is None
    for name, kind in (("DRW CE", torch.nn.CrossEntropyLoss), ("DRW EL 1", long_tail.EncouragingLoss)):
        ((loss, options),) = fitted(name)
        assert loss is long_tail.CE
        assert type(options["deferred"]) is kind
        balanced = options["deferred"].weight * counts
        torch.testing.assert_close(balanced, balanced.mean().expand(10))


@pytest.mark.parametrize("name", ["cRT CE", "cRT EL 1"])
def test_the_new_classifier_sees_every_class_as_often(fitted, name):
    labels = long_tail.long_tailed(Settings(), 1).labels
    (first, _), (second, options) = fitted(name)
    assert first is long_tail.STUDY.systems[name].loss
    assert type(second) is torch.nn.CrossEntropyLoss
    sampler = options["sampler"]
    assert sampler.num_samples == len(labels)
    chances = torch.zeros(10, dtype=torch.double).index_add_(0, labels, sampler.weights)
    torch.testing.assert_close(chances, chances.mean().expand(10))
