"""Table 9's losses against Eq. 10 and 11 of the paper."""

import math

import pytest
import torch

pytest.importorskip("torchvision")

from experiments.studies import focal, long_tail
from experiments.studies.focal import softmax_loss


@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_focal_losses_are_of_the_softmax(threshold):
    torch.manual_seed(0)
    logits = (3 * torch.randn(200, 3, dtype=torch.float64)).requires_grad_()
    target = torch.randint(3, (200,))
    p = logits.softmax(dim=1)[torch.arange(200), target]
    assert 40 < (p > 0.5).sum() < 160
    below = -((1 - p) ** focal.GAMMA) * p.log()
    # Continuous at phi; the paper prints b with the other sign.
    above = -p.log() + (1 - (1 - threshold) ** focal.GAMMA) * math.log(threshold)
    expected = torch.where(p > threshold, above, below).mean()
    actual = softmax_loss(logits, target, threshold)
    torch.testing.assert_close(actual, expected)
    gradients = [torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)


def test_the_bonus_comes_with_the_weights():
    # As the authors' script for "Deferred Re-weighting + Normal Bonus".
    plain, bonus = (long_tail.STUDY.systems[name] for name in ("DRW CE", "DRW EL 1"))
    assert plain.loss is bonus.loss is long_tail.CE
    assert bonus.reweighted is long_tail.NORMAL
