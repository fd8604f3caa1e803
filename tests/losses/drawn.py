"""Inputs that hypothesis draws: logits by a seed, in memory any way round."""

import torch
from hypothesis import strategies as st

# Of values and of gradients, by the logits' dtype; a gradient is rounded once.
TOLERANCE = {
    torch.float64: (1e-9, 1e-9),
    torch.float32: (2e-5, 2e-5),
    torch.bfloat16: (2e-5, 1e-2),
    torch.float16: (2e-5, 2e-3),
}


def drawn(shape, seed, dtype):
    """Logits of ``shape``, moderate, and class indices of its first dimension."""
    torch.manual_seed(seed)
    return (4 * torch.randn(shape, dtype=torch.float64)).to(dtype), torch.randint(shape[1], shape[:1])


@st.composite
def layouts(draw, value):
    """``value`` with other strides: transposed, a slice of a larger tensor, or as it is."""
    kind = draw(st.sampled_from(["contiguous", "transposed", "sliced", "offset"]))
    if kind == "transposed":
        return value.T.contiguous().T.detach()
    if kind == "sliced":
        return torch.stack([value, torch.full_like(value, torch.nan)], -1)[..., 0].detach()
    if kind == "offset":
        return torch.cat([torch.full_like(value[:1], torch.nan), value])[1:].detach()
    return value.clone()
