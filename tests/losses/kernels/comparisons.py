"""What the tests of the kernels share: settings, loss and gradient by a path, and their errors."""

import torch

from el_plugins.losses import encouraging_loss
from el_plugins.losses.kernels import use

SETTINGS = [
    {"log_end": 0.5},
    {"log_end": 1.0, "label_smoothing": 0.1, "smoothing": "fairseq"},
    {"bonus": "power", "bonus_exponent": 0.5, "label_smoothing": 0.1},
]


def results(z, target, path="formula", grad_output=None, **options):
    z = z.detach().requires_grad_()  # in its own layout
    with use(path):
        loss = encouraging_loss(z * 1 if options.get("inplace") else z, target, reduction="none", **options)
    loss.backward(torch.ones_like(loss) if grad_output is None else grad_output.to(loss.dtype))
    return loss.detach().double(), z.grad.double()


def assert_no_worse(z, target, path, constant=1e-6, **options):
    """Error against float64 at most 1.5 times the single-precision formula's own, plus ``constant``."""
    exact = results(z.double(), target, **options)
    plain = results(z.float(), target, **options)
    actual = results(z, target, path, **options)
    for got, single, expected in zip(actual, plain, exact):
        scale = 1 + expected.abs()
        error, allowed = ((got - expected) / scale).abs().max(), ((single - expected) / scale).abs().max()
        assert error <= 1.5 * allowed + constant
