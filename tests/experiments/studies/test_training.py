"""What the studies train: deferred losses, new heads on old bodies, long tails, folders of images."""

import copy

import pytest
import torch
from torch import nn

for package in ("accelerate", "timm", "sklearn", "torchvision"):
    pytest.importorskip(package)

from PIL import Image

from el_plugins.losses import EncouragingLoss
from experiments.studies.data import load
from experiments.studies.long_tail import FEWEST, MOST, TESTED, long_tailed, weighted
from experiments.studies.models import Classifier
from experiments.studies.settings import Settings
from experiments.studies.training import DEFERRED, accuracy, apply, fit, retrain_head

SHORT = Settings(epochs=2)


def test_a_deferred_loss_takes_over():
    images = load(SHORT, 1)
    calls = []

    def named(name):
        def loss(logits, target):
            calls.append(name)
            return nn.functional.cross_entropy(logits, target)

        return loss

    fit(Classifier(SHORT, images), images.train, named("first"), SHORT, deferred=named("second"))
    assert calls == sorted(calls)
    assert calls.count("first") == pytest.approx(DEFERRED * len(calls), abs=1)


def test_a_new_head_leaves_the_body_as_it_is():
    images = load(SHORT, 1)
    model = fit(Classifier(SHORT, images), images.train, nn.CrossEntropyLoss(), SHORT)
    before = copy.deepcopy(model.state_dict())
    retrain_head(model, images.train, SHORT)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert accuracy(*apply(model, images.test, SHORT)) > 50


def test_long_tail():
    images = long_tailed(Settings(), 3)
    counts = images.labels.bincount(minlength=10)
    assert (counts.max(), counts.min()) == (MOST, FEWEST)
    assert (images.test.tensors[1].bincount() - TESTED).abs().max() <= 1
    loss = weighted(EncouragingLoss(log_end=1.0), counts)
    torch.testing.assert_close(loss.weight * counts, (loss.weight * counts)[0].expand(10))
    assert loss.bonus.log_end == 1.0


def test_a_folder_of_images(tmp_path):
    for part, count in (("train", 6), ("val", 4)):
        for number, name in enumerate(("dark", "light")):
            (tmp_path / part / name).mkdir(parents=True)
            for place in range(count):
                grey = Image.new("RGB", (40, 50), (200 * number + place,) * 3)
                grey.save(tmp_path / part / name / f"{place}.png")
    images = load(Settings(data=str(tmp_path), size=16), 1)
    assert (images.classes, images.channels, len(images.train), len(images.test)) == (2, 3, 12, 8)
    one, again = (images.trained_on()[3][0] for _ in range(2))
    assert one.shape == (3, 16, 16)
    assert torch.equal(one, again)
    assert one.max() <= 1
