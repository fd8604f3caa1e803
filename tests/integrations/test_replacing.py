"""A function with other globals, compiled beside the one that it is made of."""

import torch

from el_plugins.integrations.replacing import rebound


def factor(x):
    return 2 * x


def scaled(x):
    torch._dynamo.graph_break()
    return factor(x)


def test_compiled_functions_are_kept_apart():
    one = torch.ones(1)
    for first in (0, 1):
        torch._dynamo.reset()
        functions = [scaled, rebound(scaled, factor=lambda x: 3 * x)]
        for i in (first, 1 - first, first):
            assert torch.compile(functions[i], backend="eager")(one) == 2 + i
