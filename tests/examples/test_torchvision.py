"""The RetinaNet head of the example against torchvision's own."""

import pytest
import torch

pytest.importorskip("torchvision")
pytest.importorskip("sklearn")

from torchvision.models.detection.retinanet import RetinaNetClassificationHead

from examples.torchvision_retinanet import HaltedFocalHead


def test_halting_nothing_it_is_the_loss_of_torchvision():
    torch.manual_seed(0)
    head = HaltedFocalHead(in_channels=8, num_anchors=1, num_classes=4)
    logits = (3 * torch.randn(3, 50, 4, dtype=torch.float64)).requires_grad_()
    some = torch.randint(-2, 3, (2, 50))  # -2 is ignored, -1 background
    matched = [*some, torch.full((50,), -1)]
    targets = [{"labels": torch.tensor(labels, dtype=torch.long)} for labels in ([0, 3, 1], [2, 2, 0], [])]
    arguments = (targets, {"cls_logits": logits}, matched)
    expected = RetinaNetClassificationHead.compute_loss(head, *arguments)
    halted = head.compute_loss(*arguments)
    head.halt_threshold = 1
    actual = head.compute_loss(*arguments)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(*[torch.autograd.grad(loss, logits)[0] for loss in (actual, expected)])
    assert halted < expected


def test_weights_of_torchvision_load():
    shape = {"in_channels": 8, "num_anchors": 3, "num_classes": 4}
    head, weights = HaltedFocalHead(**shape), RetinaNetClassificationHead(**shape).state_dict()
    head.load_state_dict(weights)
    assert head.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in head.state_dict().items())
