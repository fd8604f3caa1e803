"""The paper's figures show what was computed."""

import pytest
import torch

pytest.importorskip("matplotlib")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from el_plugins.metrics import margin
from experiments import plots


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def curve(axes, label):
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return torch.tensor(line.get_xdata()), torch.as_tensor(line.get_ydata())


def some_logits():
    torch.manual_seed(0)
    return torch.randn(50, 4), torch.randint(4, (50,))


def test_energies(axes):
    logits, target = some_logits()
    plots.plot_energies(axes, {"CE": (logits, target)}, label=2)
    torch.testing.assert_close(curve(axes, "CE")[1].float(), -logits[target == 2].mean(dim=0))
    with pytest.raises(ValueError, match="CE has no example of class 9"):
        plots.plot_energies(axes, {"CE": (logits, target)}, label=9)


def test_margins_share_their_bins(axes):
    logits, target = some_logits()
    plots.plot_margins(axes, {"CE": (logits, target), "EL": (3 * logits, target)}, bins=7)
    edges = [patch.get_xy()[:, 0] for patch in axes.patches]
    assert set(edges[0]) == set(edges[1])
    widest = 3 * margin(logits, target)
    assert min(edges[0]) == pytest.approx(widest.min().item(), rel=1e-6)


def test_losses_are_the_papers(axes):
    plots.plot_losses(axes)
    p, values = curve(axes, "encouraging loss")
    torch.testing.assert_close(values, (1 - p).log() - p.log())
    torch.testing.assert_close(curve(axes, "bonus")[1], (1 - p).log())


def test_family_pushes_as_its_definitions_say(axes):
    plots.plot_family(axes)
    p, cross_entropy = curve(axes, "cross-entropy")
    one = 1 - p
    for name, wanted in (
        ("cross-entropy", one),
        ("label smoothing 0.1", 0.95 - p),  # of two classes
        ("focal loss, gamma 2", one**2 * (one - 2 * p * p.log())),
        ("DFT, -p", p * one),
        ("Poly-1, log_end 0", one * (1 + p)),
        ("EL, log_end 0.5", torch.where(p <= 0.5, 1.0, one * (1 + 2 * p))),
        ("EL, log_end 1", torch.ones_like(p)),
    ):
        torch.testing.assert_close(curve(axes, name)[1], wanted, msg=name)
    halted = curve(axes, "the same, halted")[1]
    torch.testing.assert_close(halted[p > 0.5], cross_entropy[p > 0.5])


def test_bonuses_end_where_they_are_told(axes):
    plots.plot_bonuses(axes, (0.5,))
    p, values = curve(axes, "log_end 0.5")
    bonus = torch.where(p <= 0.5, (1 - p).log(), torch.log(torch.tensor(0.5)) - (p - 0.5) / 0.5)
    torch.testing.assert_close(values, bonus - p.log())


def test_halted_focal_is_focal_below_and_parallel_to_cross_entropy_above(axes):
    plots.plot_halted_focal(axes, gamma=2.0)
    p, halted = curve(axes, "halted focal loss")
    plain = curve(axes, "cross-entropy")[1]
    below = p < 0.5
    torch.testing.assert_close(halted[below], (-((1 - p) ** 2) * p.log())[below])
    shift = (halted - plain)[p > 0.5]
    torch.testing.assert_close(shift, shift[:1].expand_as(shift))
