"""The kernels through torch.compile against the formula."""

import pytest
import torch

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.losses.kernels import use
from tests.losses.kernels.comparisons import SETTINGS, assert_no_worse, results


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_compiled(options, inplace, no_fallback):
    for count, classes in [(40, 37), (300, 4001)]:  # the second in more than one chunk
        z = 4 * torch.randn(count, classes)
        target = torch.randint(classes, (count,))
        target[5] = -100
        z[5] = float("nan")
        z[7, target[7]] = 60.0
        z[8, target[8]] = 1000.0  # the exponentials of all others vanish
        z[9, [3, target[9], 11]] = 30.0  # a tie
        grad_output = torch.randn(count)
        exact = results(z.double(), target, grad_output=grad_output, **options)
        actual = results(z, target, "compiled", grad_output, inplace=inplace, **options)
        for got, expected in zip(actual, exact):
            torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-6)


def test_compiled_code_is_not_reused_for_other_settings(no_fallback):
    # torch has run code compiled for one exponent with another.
    z, target = torch.randn(6, 5), torch.randint(5, (6,))
    for exponent in (2.0, 0.5, 3.0):
        options = {"bonus": "power", "bonus_exponent": exponent, "label_smoothing": 0.1}
        exact = results(z.double(), target, **options)
        torch.testing.assert_close(results(z, target, "compiled", **options), exact, rtol=1e-5, atol=1e-6)
    for gamma in (2.0, 0.5, 1.0, 1.5):
        actual = {}
        for path in ("formula", "compiled"):
            with use(path):
                actual[path] = sigmoid_halted_focal_loss(z, target, 0.25, gamma, halt="authors")
        torch.testing.assert_close(actual["compiled"], actual["formula"])


def test_compiled_halted_focal(no_fallback):
    x = 5 * torch.randn(50, 7)
    for targets in (torch.randint(-1, 8, (50,)), torch.rand(50, 7), torch.rand(50, 7) > 0.5):
        grown = []
        for path, dtype in {"formula": torch.float64, "compiled": torch.float32}.items():
            leaf = x.detach().to(dtype).requires_grad_()
            with use(path):
                sigmoid_halted_focal_loss(leaf, targets, 0.5, 1.0, "sum").backward()
            grown.append(leaf.grad.double())
        torch.testing.assert_close(grown[1], grown[0], rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_compiled_at_odd_sizes(options, no_fallback):
    for classes in (1, 2, 3, 423, 32000, 131071):
        z = 4 * torch.randn(17, classes)
        target = torch.randint(classes, (17,))
        z[::3].scatter_(1, target[::3].unsqueeze(1), 30.0)
        target[-1] = -100
        assert_no_worse(z, target, "compiled", **options)
