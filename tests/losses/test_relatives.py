"""Losses of others that ours are equal to, each by its own definition: Poly-1, DFT, OFA's criterion."""

import pytest
import torch
import torch.nn.functional as F

from el_plugins.losses import encouraging_loss


@pytest.fixture
def rows():
    """Logits of 40 rows over 9 classes, some targets nearly sure, and the targets."""
    torch.manual_seed(0)
    z = torch.randn(40, 9, dtype=torch.float64)
    target = torch.randint(9, (40,))
    z[::2].scatter_(1, target[::2].unsqueeze(1), torch.linspace(0, 14, 20, dtype=torch.float64).unsqueeze(1))
    return z.requires_grad_(), target


def same_gradient(one, other, z):
    torch.testing.assert_close(*(torch.autograd.grad(loss, z, retain_graph=True) for loss in (one, other)))


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 6.0])
def test_poly1(rows, epsilon):
    z, target = rows
    p = z.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)
    poly1 = F.cross_entropy(z, target, reduction="none") + epsilon * (1 - p)
    ours = encouraging_loss(z, target, reduction="none", log_end=0.0, bonus_weight=epsilon)
    torch.testing.assert_close(ours + epsilon, poly1)
    same_gradient(ours.sum(), poly1.sum(), z)


def test_dft_and_cross_entropy_are_the_bonus_of_log_end_0(rows):
    z, target = rows
    log_p = z.log_softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)
    dft = -log_p * log_p.detach().exp()
    ours = encouraging_loss(z, target, reduction="sum", log_end=0.0)
    same_gradient(ours, (dft - log_p).sum(), z)


def ofa(z, target, epsilon, log_end):
    """Of each row, from a reading of its criterion: two conventions of smoothing in one loss."""
    log_p = z.log_softmax(1)
    p, (_, classes) = log_p.exp(), z.shape
    share = epsilon / (classes - 1)
    cross_entropy = -(1 - epsilon - share) * pick(log_p, target) - share * log_p.sum(1)
    bonus = (1 - p).clamp(min=1e-5).log()
    if log_end != 1:
        tangent = (p - log_end) / (log_end - 1) + torch.tensor(1 - log_end, dtype=z.dtype).log()
        bonus = torch.where(p > log_end, tangent, bonus)
    return cross_entropy + (1 - epsilon) * pick(bonus, target) + epsilon / classes * bonus.sum(1), bonus


def pick(values, target):
    return values.gather(1, target.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("log_end", [0.5, 0.75, 1.0])
def test_ofa(rows, log_end):
    z, target = rows
    options = {"reduction": "none", "log_end": log_end}
    theirs, _ = ofa(z, target, 0.0, log_end)
    ours = encouraging_loss(z, target, **options)
    torch.testing.assert_close(ours, theirs)
    same_gradient(ours.sum(), theirs.sum(), z)
    epsilon = 0.1
    smoothed = {**options, "label_smoothing": epsilon}
    theirs, bonus = ofa(z, target, epsilon, log_end)
    near = encouraging_loss(z, target, smoothing="fairseq", **smoothed)
    others = (bonus.sum(1) - pick(bonus, target)) / 8
    torch.testing.assert_close(theirs - near, epsilon / 9 * (pick(bonus, target) - others))
    alone = encouraging_loss(z, target, **smoothed)
    alone = alone - F.cross_entropy(z, target, reduction="none", label_smoothing=epsilon)
    exact = encouraging_loss(z, target, smoothing="fairseq", bonus="none", **smoothed) + alone
    torch.testing.assert_close(exact, theirs)
    same_gradient(exact.sum(), theirs.sum(), z)
