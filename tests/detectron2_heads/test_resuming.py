"""What a resumed training restores: images in the order of loaders never stopped, and the normalizer."""

from itertools import islice

import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.data import build_detection_train_loader
from detectron2.data.samplers import RepeatFactorTrainingSampler, TrainingSampler

from detectron2_heads.resuming import LossNormalizer, TrainingOrder
from tests.detectron2_heads.detectors import retinanet, sample, training_losses

IMAGES = [{"id": n, "width": 3 + n % 3, "height": 4} for n in range(23)]  # a third is wide


def loader(sampler, grouping, workers):
    return build_detection_train_loader(
        IMAGES,
        mapper=dict,
        sampler=sampler,
        total_batch_size=4,
        aspect_ratio_grouping=grouping,
        num_workers=workers,
    )


def ids(loader, batches):
    return [[image["id"] for image in batch] for batch in islice(loader, batches)]


@pytest.mark.parametrize("grouping", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 13])
def test_a_resumed_order_is_the_uninterrupted_one(grouping, workers, stop):
    for sampler in (
        TrainingSampler(23, seed=5),
        RepeatFactorTrainingSampler(1 + torch.arange(23) / 10, seed=5),
    ):
        expected = ids(loader(sampler, grouping, workers), 20)
        resumed = loader(sampler, grouping, workers)
        TrainingOrder(resumed, 4).skip(stop)
        assert ids(resumed, 20 - stop) == expected[stop:]


def test_seed_and_images_go_through_checkpoints():
    first = TrainingOrder(loader(TrainingSampler(23, seed=5), False, 0), 4)
    assert first.images == 23
    resumed = loader(TrainingSampler(23, seed=6), False, 0)
    order = TrainingOrder(resumed, 4)
    order.load_state_dict({**first.state_dict(), "batch": 8})
    order.skip(3)  # of 8 images, 6 of 4
    assert ids(resumed, 5) == ids(loader(TrainingSampler(23, seed=5), False, 0), 11)[6:]


def test_normalizer_is_carried_by_the_checkpointer_not_the_weights():
    model = retinanet()
    assert LossNormalizer(model).state_dict() == {}
    training_losses(model, sample(2))
    state = LossNormalizer(model).state_dict()
    assert 80 < state["value"] < 100
    assert not any("normalizer" in name for name in model.state_dict())
    other = torch.nn.Module()
    other.module = retinanet()  # as DistributedDataParallel wraps it
    LossNormalizer(other).load_state_dict(state)
    assert other.module.loss_normalizer == state["value"]
