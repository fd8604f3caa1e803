"""Fused forms of the losses: gradients in closed form, a chunk at a time, and the choice between them."""

from el_plugins.losses.kernels.backends import use

__all__ = ["use"]
