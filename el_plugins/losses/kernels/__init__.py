"""Fused implementations of the losses: closed-form gradients, a chunk at a time, and the choice of one."""

from el_plugins.losses.kernels.backends import use

__all__ = ["use"]
