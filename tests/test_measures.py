"""Energy and margin on values worked by hand."""

import torch

from el_plugins.measures import energy, margin


def test_by_hand():
    logits = torch.tensor([[1.0, 4.0, 2.5], [3.0, -1.0, 3.0], [-2.0, -5.0, -9.0]])
    target = torch.tensor([1, 1, 0])
    assert energy(logits, target).tolist() == [-4.0, 1.0, 2.0]
    assert margin(logits, target).tolist() == [1.5, -4.0, 3.0]
    assert margin(logits[1:2], torch.tensor([2])).tolist() == [0.0]  # a tie is no margin
