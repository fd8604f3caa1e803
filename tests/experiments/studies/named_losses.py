"""Cross-entropy under several names, to see which loss trains when."""

from torch import nn


def named(name, calls):
    """Cross-entropy that appends ``name`` to ``calls``."""

    def loss(logits, target):
        calls.append(name)
        return nn.functional.cross_entropy(logits, target)

    return loss
