"""The gradient written over the logits: what it saves, and where it is refused or ignored."""

import pytest
import torch

from el_plugins.losses import EncouragingLoss, encouraging_loss
from el_plugins.losses.kernels import use


@pytest.mark.parametrize("view", [False, True])
def test_in_place_overwrites_the_logits_with_their_gradient(view):
    x = torch.randn(8, 5, requires_grad=True)
    target = torch.tensor([0, 1, -100, 3])
    logits = 2 * x
    part = logits[2:6] if view else logits[:4]
    (expected,) = torch.autograd.grad(encouraging_loss(part, target), x, retain_graph=True)
    version = logits._version
    with use("chunks"):
        (gradient,) = torch.autograd.grad(EncouragingLoss(inplace=True)(part, target), x)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(2 * part.detach(), expected[2:6] if view else expected[:4])
    assert logits._version > version


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[1:], lambda x: x.view(2, 2, 5)[0]])
@pytest.mark.parametrize("path", ["formula", "chunks"])
def test_in_place_refuses_leaves_and_their_views(view, path):
    parameter = torch.nn.Parameter(torch.randn(4, 5))
    logits = view(parameter)
    target = torch.zeros(len(logits), dtype=torch.long)
    with use(path):
        with pytest.raises(
            RuntimeError, match="inplace=True would overwrite input with its gradient, but input"
        ):
            EncouragingLoss(inplace=True)(logits, target)
        with torch.no_grad():  # no backward, nothing to overwrite
            encouraging_loss(logits, target, inplace=True)
        encouraging_loss(view(parameter.detach()), target, inplace=True)
        encouraging_loss(view(parameter * 1), target, inplace=True).backward()


@pytest.mark.parametrize("spread_out", [lambda x: x.unfold(0, 5, 1), lambda x: x[:5].expand(3, 5)])
def test_in_place_is_ignored_for_logits_that_share_memory(spread_out):
    gradients = []
    for inplace in (False, True):
        base = torch.arange(7.0).sin().requires_grad_()
        with use("chunks"):
            loss = encouraging_loss(spread_out(base * 1), torch.tensor([0, 1, 2]), inplace=inplace)
        gradients.append(torch.autograd.grad(loss, base)[0])
    assert torch.equal(*gradients)
