"""What the studies train: deferred losses, new heads on old bodies, long tails, folders of images."""

import copy
import struct

import pytest
import torch
from torch import nn

for package in ("accelerate", "timm", "sklearn", "torchvision"):
    pytest.importorskip(package)

from PIL import Image

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import NotFiniteError
from el_plugins.utils.divergence import DivergedError
from experiments.studies import energy
from experiments.studies.data import load, move, source
from experiments.studies.long_tail import FEWEST, MOST, TESTED, long_tailed, weighted
from experiments.studies.models import Classifier
from experiments.studies.settings import Settings
from experiments.studies.training import accuracy, apply, fit, retrain_head
from tests.experiments.studies.named_losses import named

SHORT = Settings(epochs=2)


def test_a_deferred_loss_takes_over():
    images = load(SHORT, 1)
    calls = []
    fit(
        Classifier(SHORT, images), images.train, named("first", calls), SHORT, deferred=named("second", calls)
    )
    assert calls == sorted(calls)
    assert calls.count("first") == pytest.approx(0.5 * len(calls), abs=1)


def test_a_loss_that_is_not_finite_stops_the_training():
    images = load(SHORT, 1)
    calls = []

    def loss(logits, target):
        calls.append(None)
        return nn.functional.cross_entropy(logits, target) / (len(calls) < 5 or float("nan"))

    with pytest.raises(DivergedError, match="diverged at step 5: the loss is not finite"):
        fit(Classifier(SHORT, images), images.train, loss, SHORT)
    assert len(calls) == 5


def test_a_last_step_that_breaks_the_model_is_noticed():
    images = load(SHORT, 1)
    short = Settings(epochs=1, batch_size=len(images.train), optimizer="sgd", lr=1e38)
    with pytest.raises(DivergedError, match="step 1"):
        fit(Classifier(short, images), images.train, nn.CrossEntropyLoss(), short)
    with pytest.raises(NotFiniteError, match="got 1 of 4 logits"):
        accuracy(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), torch.tensor([0, 0]))


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


def test_an_exponential_tail(tmp_path):
    labels = torch.arange(10).repeat(200)
    for part, count in (("train", len(labels)), ("test", 20)):
        write_mnist(tmp_path / "MNIST" / "raw", part, torch.arange(count) % 256, labels[:count])
    settings = Settings(data="mnist", root=str(tmp_path), tail=100)
    images = long_tailed(settings, 1)
    counts = images.labels.bincount()
    assert counts.tolist() == [200, 120, 72, 43, 26, 15, 9, 6, 3, 2]
    assert len(images.test) == 20
    drawn = [int(label) for _, label in images.train]
    assert drawn == images.labels.tolist()
    assert not torch.equal(long_tailed(settings, 2).train[0][0], images.train[0][0])
    assert len(long_tailed(Settings(data="mnist", root=str(tmp_path)), 1).train) == 2000


def write_mnist(raw, part, grey, labels):
    """A part of MNIST as torchvision unpacks it: N images of 28 x 28 pixels, each of one grey."""
    raw.mkdir(parents=True, exist_ok=True)
    name = {"train": "train", "test": "t10k"}[part]
    pixels = grey.to(torch.uint8)[:, None, None].expand(-1, 28, 28)
    head = struct.pack(">IIII", 2051, len(labels), 28, 28)
    (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.numpy().tobytes())
    head = struct.pack(">II", 2049, len(labels))
    (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.to(torch.uint8).numpy().tobytes())


def test_data_in_root_are_found(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw", "train", torch.tensor([0, 51, 255]), torch.tensor([3, 4, 5]))
    write_mnist(tmp_path / "MNIST" / "raw", "test", torch.tensor([102]), torch.tensor([9]))
    images = load(Settings(data="mnist", root=str(tmp_path)), 1)
    assert [image.unique().tolist() for image, _ in images.train] == [[0.0], [pytest.approx(0.2)], [1.0]]
    assert (images.labels.tolist(), images.channels) == ([3, 4, 5], 1)
    assert images.test[0][1] == 9


def write_cifar10(root, count):
    """CIFAR-10 as folders of grey JPEG files, two classes with ``count`` images each in both parts."""
    for part in ("train", "val"):
        for number, name in enumerate(("airplane", "truck")):
            (root / "cifar10" / part / name).mkdir(parents=True)
            for place in range(count):
                grey = Image.new("RGB", (32, 32), (100 + 100 * number,) * 3)
                grey.save(root / "cifar10" / part / name / f"{place}.jpg")


def test_figures_show_all_classes_of_a_folder(tmp_path, monkeypatch):
    write_cifar10(tmp_path, 6)
    monkeypatch.setattr(energy, "SAMPLES", 4)
    settings = Settings(data="cifar10", root=str(tmp_path), epochs=1, batch_size=6)
    outputs = energy.run(settings, nn.CrossEntropyLoss(), 1)
    assert len(outputs["logits"]) == 4
    assert set(outputs["target"]) == {0, 1}


def test_cifar10_as_folders_of_images(tmp_path):
    write_cifar10(tmp_path, 1)
    settings = Settings(data="cifar10", root=str(tmp_path))
    images = load(settings, 1)
    assert (images.classes, images.channels, images.labels.tolist()) == (2, 3, [0, 1])
    plain, _ = images.trained_on()[1]
    assert plain.shape == (3, 32, 32)
    assert (255 * plain).unique().round().tolist() == [200]
    torch.manual_seed(0)
    moved = torch.stack([images.train[1][0] for _ in range(50)])
    assert len(moved.flatten(1).unique(dim=0)) > 10  # cut elsewhere, with black at the edges
    assert source(settings) == "cifar10 re-encoded as JPEG"
    assert source(Settings()) == "digits"


def test_a_move_is_a_cut_and_a_mirror():
    torch.manual_seed(0)
    pixels = torch.arange(2 * 6 * 5, dtype=torch.uint8).view(1, 2, 6, 5).repeat(40, 1, 1, 1)
    padded = torch.nn.functional.pad(pixels[0], (4,) * 4)
    cuts = [padded[:, y : y + 6, x : x + 5] for y in range(9) for x in range(9)]
    places = cuts + [cut.flip(2) for cut in cuts]
    for moved in move(pixels):
        assert any(torch.equal(moved, cut) for cut in places)


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
