"""RetinaNet and FCOS with halted focal loss against torchvision's own loss and a few steps of training."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("torchvision")

import torchvision
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from el_plugins.integrations.torchvision import use_halted_focal_loss
from el_plugins.losses import sigmoid_halted_focal_loss

SIZE = 64


class Backbone(nn.Module):
    """One map of features, 8 pixels apart."""

    out_channels = 32

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 8, stride=8)

    def forward(self, x):
        return {"0": self.conv(x).relu()}


def detector(kind):
    torch.manual_seed(0)
    anchors = AnchorGenerator(sizes=((16,),), aspect_ratios=((1.0,) if kind is FCOS else (0.5, 1.0),))
    model = kind(Backbone(), 3, min_size=SIZE, max_size=SIZE, anchor_generator=anchors)
    last = model.head.classification_head.cls_logits
    nn.init.normal_(last.weight, std=5.0)  # sure, rightly and wrongly
    return model.double().train()


def batch():
    torch.manual_seed(1)
    boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0], [30.0, 34.0, 52.0, 50.0]]).double()
    labelled = {"boxes": boxes, "labels": torch.tensor([0, 2])}
    empty = {"boxes": torch.zeros(0, 4).double(), "labels": torch.zeros(0, dtype=torch.long)}
    return list(torch.rand(2, 3, SIZE, SIZE).double()), [labelled, empty]


def losses_and_gradients(model):
    model.zero_grad()
    losses = model(*batch())
    sum(losses.values()).backward()
    return losses, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("kind", [RetinaNet, FCOS])
def test_a_copy_keeps_the_loss_and_a_pickle_would_not(kind, tmp_path):
    model = detector(kind)
    stock = model(*batch())["classification"]
    with use_halted_focal_loss(model, gamma=1.0):
        halted = model(*batch())["classification"]
        copied = copy.deepcopy(model)
        with pytest.raises(TypeError, match="undo it by remove\\(\\) before pickling"):
            torch.save(model, tmp_path / "model.pt")
    assert copied(*batch())["classification"] == halted != stock
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert copied(*batch())["classification"] != halted
    assert model(*batch())["classification"] == stock
    torch.save(model, tmp_path / "model.pt")


@pytest.mark.parametrize("kind", [RetinaNet, FCOS])
def test_halting_nothing_it_is_the_loss_of_torchvision(kind):
    model = detector(kind)
    own, gradients = losses_and_gradients(model)
    other = copy.deepcopy(model)
    with use_halted_focal_loss(model, halt_threshold=1):
        torch.testing.assert_close(losses_and_gradients(model), (own, gradients))
    with use_halted_focal_loss(model, halt="both"):
        halted = model(*batch())
        assert other(*batch())["classification"] == own["classification"]  # only this model's
    assert halted["classification"] != own["classification"]
    assert halted["bbox_regression"] == own["bbox_regression"]
    assert model(*batch())["classification"] == own["classification"]


def test_fcos_sums_the_halted_loss_of_every_location(monkeypatch):
    model = detector(FCOS)
    seen = []
    own = torchvision.ops.sigmoid_focal_loss

    def watched(inputs, targets, reduction):
        seen.append((inputs, targets))
        return own(inputs, targets, reduction=reduction)

    monkeypatch.setattr("torchvision.models.detection.fcos.sigmoid_focal_loss", watched)
    stock = model(*batch())["classification"]
    with use_halted_focal_loss(model, alpha=0.5, gamma=1.0, halt="authors"):
        halted = model(*batch())["classification"]
    ((logits, targets),) = seen
    expected = sigmoid_halted_focal_loss(logits, targets, 0.5, 1.0, "sum", halt="authors")
    ratio = expected / own(logits, targets, reduction="sum")
    torch.testing.assert_close(halted / stock, ratio)


@pytest.mark.parametrize("kind", [RetinaNet, FCOS])
def test_it_trains(kind):
    model = detector(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with use_halted_focal_loss(model):
        losses = []
        for _ in range(6):
            loss = sum(model(*batch()).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match="torchvision's RetinaNet or FCOS, got Linear"):
        use_halted_focal_loss(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="halt_threshold"):
        use_halted_focal_loss(detector(FCOS), halt_threshold=2)
    model = detector(RetinaNet)
    head = model.head.classification_head
    head.__class__ = type("Own", (type(head),), {"compute_loss": lambda self, *_: torch.zeros(())})
    with pytest.raises(ValueError, match="does not call sigmoid_focal_loss"):
        use_halted_focal_loss(model)
    monkeypatch.setattr("el_plugins.integrations.torchvision.sigmoid_focal_loss", lambda inputs, labels: None)
    with pytest.raises(ValueError, match=r"parameters inputs, .*, got inputs, labels: this version"):
        use_halted_focal_loss(detector(FCOS))


@pytest.mark.parametrize("kind", [RetinaNet, FCOS])
def test_twice_is_refused(kind):
    model = detector(kind)
    with use_halted_focal_loss(model), pytest.raises(ValueError, match="has another loss already: undo it"):
        use_halted_focal_loss(model)
    with use_halted_focal_loss(model):
        pass
