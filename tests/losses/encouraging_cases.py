"""What the tests of encouraging loss share: every bonus, every smoothing, one row's loss and gradient."""

import torch

from el_plugins.losses import encouraging_loss

BONUS_OPTIONS = [
    {"bonus": "log", "log_end": 1.0},
    {"bonus": "log", "log_end": 1.0, "bonus_eps": 0.0},
    {"bonus": "log", "log_end": 1.0, "bonus_eps": 0.3},
    {"bonus": "log", "log_end": 0.999999},
    {"bonus": "log", "log_end": 0.75},
    {"bonus": "log", "log_end": 0.0},
    {"bonus": "aggressive"},
    {"bonus": "aggressive", "bonus_eps": 0.0},
    {"bonus": "aggressive", "bonus_start": 0.2},
    {"bonus": "power"},
    {"bonus": "power", "bonus_exponent": 0.5},
    {"bonus": "power", "bonus_start": 0.3, "bonus_exponent": 3.0},
    {"bonus": "cosine"},
    {"bonus": "none"},
]
SMOOTHED = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.1, "smoothing": "fairseq"},
]
HARD_LOGITS = [
    [60.0, 0.0, 0.0],
    [-69.0, 0.0, 0.0, 1.0],  # p of the target about 1e-30
    [69.0776, 0.0, 0.5],  # about 1 - 1e-30
    [9.21, 0.0],  # about 0.9999
    [11.51, 0.0],  # about 1 - 1.003e-5, and 1 - 0.993e-5: on both sides of the default bound
    [11.52, 0.0],
    [14.5, 0.0, 0.1],  # about 1 - 1.06e-6, and 1 - 0.96e-6: on both sides of log_end 0.999999
    [14.6, 0.0, 0.1],
    [0.01, 0.0],  # about 1/2
    [0.0, 0.0],
    [1000.3, 1000.0, 999.9, 990.0],  # a large common shift
    [0.3, -1.2, 2.0, 0.1, -40.0],
]


def oracle_options(options):
    names = {"bonus_start": "start", "bonus_exponent": "exponent", "bonus_eps": "eps"}
    return {names.get(name, name): value for name, value in options.items()}


def loss_and_gradient(logits, target, dtype=torch.float64, **options):
    z = torch.tensor([logits], dtype=dtype, requires_grad=True)
    loss = encouraging_loss(z, torch.tensor([target]), **options)
    (gradient,) = torch.autograd.grad(loss, z)
    return loss, gradient
