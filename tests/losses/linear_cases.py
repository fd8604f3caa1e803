"""What the tests of the linear form share: a layer with its hidden states and targets."""

import torch


def layer(dtype=torch.float64, shape=(10,), bias=True):
    torch.manual_seed(0)
    hidden = torch.randn(*shape, 6, dtype=dtype, requires_grad=True)
    matrix = torch.randn(11, 6, dtype=dtype, requires_grad=True)
    offset = torch.randn(11, dtype=dtype, requires_grad=True) if bias else None
    target = torch.randint(11, shape)
    target.view(-1)[4] = -100
    return hidden, matrix, offset, target
