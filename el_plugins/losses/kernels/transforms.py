"""The kernels under torch.func: reverse mode and vmap work, forward mode and second derivatives do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

USE_THE_FORMULA = "compute it inside \"with el_plugins.losses.kernels.use('formula')\""
ONCE = f"this loss is differentiable once: for second derivatives (create_graph=True) {USE_THE_FORMULA}"


def is_transformed() -> bool:
    """Whether a transform of torch.func is active."""
    return torch._C._are_functorch_transforms_active()


def refuse_second_order() -> None:
    """Raise RuntimeError where backward itself is to be differentiated."""
    if torch.is_grad_enabled():  # in backward only with create_graph=True
        raise RuntimeError(ONCE)


def is_legacy_batched(grad_output: Tensor) -> bool:
    """Whether autograd batches gradients by its older vmap, which does not support autograd functions."""
    is_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", None)  # torch 2.2 may lack it
    return is_batched is not None and is_batched(grad_output)


def refuse_batched(grad_output: Tensor) -> None:
    """Raise RuntimeError for a batch of gradients (``is_grads_batched``)."""
    if is_legacy_batched(grad_output):
        raise RuntimeError(
            "this loss takes one gradient at a time, no is_grads_batched or jacobian(vectorize=True): use "
            f"torch.func.jacrev or vmap, or {USE_THE_FORMULA}"
        )


class Kernel(torch.autograd.Function):
    """A function with ``setup_context`` that vmap applies to one element of the batch at a time."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Raise RuntimeError: there is no forward mode."""
        raise RuntimeError(
            f"this loss has no forward-mode derivatives (jvp, jacfwd, hessian): for those {USE_THE_FORMULA}"
        )

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        """The outputs of each element of the batch, stacked; None where the function returns None."""
        leaves, form = tree_flatten(arguments)
        dims, _ = tree_flatten(in_dims)
        outputs = []
        for number in range(info.batch_size):
            element = [x if dim is None else x.select(dim, number) for x, dim in zip(leaves, dims)]
            outputs.append(cls.apply(*tree_unflatten(element, form)))
        if isinstance(outputs[0], Tensor):
            return torch.stack(outputs), 0
        stacked = tuple(None if parts[0] is None else torch.stack(parts) for parts in zip(*outputs))
        return stacked, tuple(None if x is None else 0 for x in stacked)


class Gradient(Kernel):
    """The gradient of a kernel, itself not differentiable."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Raise RuntimeError."""
        raise RuntimeError(ONCE)
