"""Argument checks that the losses share; every error names the argument, its value and what is allowed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection

import torch
from torch import Tensor

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Public since torch 2.3.
is_compiling = getattr(torch.compiler, "is_compiling", None) or torch._dynamo.is_compiling


def check_choice(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_number(
    name: str,
    value: float,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> None:
    """Raise ValueError unless ``value`` is finite and within the bounds given.

    ``low`` and ``high`` are inclusive, ``above`` and ``below`` exclusive.
    """
    inside = (
        (is_compiling() or is_finite(value))  # a scheduled number is symbolic in compiled code
        and (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
        and (below is None or value < below)
    )
    if not inside:
        bounds = [(">=", low), (">", above), ("<=", high), ("<", below)]
        wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
        raise ValueError(f"{name} must be a finite number {wanted}, got {value!r}")


def is_finite(value: object) -> bool:
    """Whether ``value`` is a finite number; a text is none, such as YAML's ``1e-5``."""
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # no number, several, or an integer too large
        return False


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless ``value`` is an integer >= 0."""
    if not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name} must be an integer >= 0, got {value!r}")


def check_index(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is an integer, as class indices are."""
    if not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be an integer, got {value!r}")


def check_tensor(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a tensor."""
    if not torch.is_tensor(value):
        raise ValueError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def check_floating(name: str, value: Tensor) -> None:
    """Raise ValueError unless ``value`` is a tensor of a real floating dtype of 16, 32 or 64 bits."""
    check_tensor(name, value)
    if value.dtype not in FLOATING:
        raise ValueError(
            f"{name} must be a floating-point tensor of 16, 32 or 64 bits, got dtype {value.dtype}"
        )


def check_dense_target(name: str, target: Tensor, like: Tensor) -> None:
    """Raise ValueError unless ``target`` has the shape of ``like`` and holds labels of a sigmoid.

    Those are floating in [0, 1], or 0 or 1 in another dtype; checked only as :func:`check_values` does.
    """
    check_tensor(name, target)
    if target.shape != like.shape:
        raise ValueError(f"{name} must have shape {tuple(like.shape)}, got {tuple(target.shape)}")
    wanted = "in [0, 1]" if target.is_floating_point() else "0 or 1"
    check_values(in_unit_interval, target, f"{name} must be {wanted}")


def in_unit_interval(target: Tensor) -> Tensor:
    """Which elements of ``target`` are in [0, 1] if it is floating, or are 0 or 1 if it is not."""
    return (target >= 0) & (target <= 1) if target.is_floating_point() else (target == 0) | (target == 1)


def class_layout(input: Tensor, target: Tensor, *, soft: bool = False) -> int:
    """The class dimension of ``input`` in torch's layouts, after checking ``target`` against it.

    Args:
        input: (C), (N, C) or (N, C, d1, ...), floating, C >= 1.
        target: integer class indices, shaped (), (N) or (N, d1, ...).
        soft: whether ``target`` may be class probabilities, floating in input's shape, too.

    Raises:
        ValueError: shapes or dtypes that do not fit.
    """
    check_floating("input", input)
    check_tensor("target", target)
    is_soft = soft and target.is_floating_point()
    if not is_soft and not holds_indices(target):
        raise ValueError(f"target must be integer class indices, got dtype {target.dtype}")
    class_dim = min(input.dim() - 1, 1)
    if input.dim() == 0 or input.size(class_dim) == 0:
        raise ValueError(f"input must have at least one class, got shape {tuple(input.shape)}")
    wanted = input.shape if is_soft else input.shape[:class_dim] + input.shape[class_dim + 1 :]
    if target.shape != wanted:
        name = "target of class probabilities" if is_soft else "target"
        raise ValueError(
            f"{name} must have shape {tuple(wanted)} for input of shape {tuple(input.shape)}, "
            f"got {tuple(target.shape)}"
        )
    return class_dim


def holds_indices(target: Tensor) -> bool:
    """Whether the dtype of ``target`` is that of class indices: an integer."""
    return not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)


def check_values(allowed: Callable[[Tensor], Tensor], values: Tensor, wanted: str) -> None:
    """Raise ValueError if any element of ``values`` is not ``allowed``, where the check is cheap.

    Reading values synchronizes with a GPU and breaks a compiled graph, and under ``vmap`` there is no
    single value to read, so the check is made on CPU in eager mode only.
    """
    if values.device.type != "cpu" or is_compiling():
        return
    wrong = ~allowed(values)
    if any_true(wrong):
        raise ValueError(f"{wanted}, got {values[wrong][0].item()}")


def any_true(mask: Tensor) -> bool | None:
    """Whether any element of ``mask`` is True; None where reading that is expensive or impossible.

    Reading synchronizes with a GPU, and a CUDA graph cannot capture it. Compiled, fake and meta tensors and
    those under ``vmap`` have no value to read.
    """
    if mask.device.type != "cpu" or is_compiling():
        return None
    try:
        return bool(mask.any())
    except RuntimeError:
        return None


def check_class_indices(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raise ValueError for a target out of range, where :func:`check_values` reads it."""

    def is_allowed(indices: Tensor) -> Tensor:
        wide = indices.long()  # in a narrow dtype, classes and ignore_index would overflow
        return ((wide >= 0) & (wide < classes)) | (wide == ignore_index)

    check_values(
        is_allowed,
        target,
        f"target must be a class index from 0 to {classes - 1} or ignore_index={ignore_index}",
    )


def flat_targets(target: Tensor, classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Checked class indices, 0 where ignored, and the mask of those that are not ignored: (N) each.

    Raises:
        ValueError: see :func:`check_class_indices`.
    """
    indices = target.reshape(-1)
    check_class_indices(indices, classes, ignore_index)
    return indices_and_mask(indices, ignore_index)


def indices_and_mask(target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Class indices, int64 and 0 where ignored, and the mask of those that are not, in ``target``'s shape."""
    indices = target.long()
    valid = indices != ignore_index
    return indices.masked_fill(~valid, 0), valid


def check_weight(weight: Tensor | None, classes: int) -> None:
    """Raise ValueError unless ``weight`` is None or one floating factor for each class."""
    if weight is not None:
        check_floating("weight", weight)
        if weight.shape != (classes,):
            raise ValueError(
                f"weight must have one element for each of the {classes} classes, "
                f"got shape {tuple(weight.shape)}"
            )


def shape_text(value: Tensor | None) -> str:
    """A tensor for ``repr`` of a module: its shape, since reading values may be expensive."""
    return "None" if value is None else f"tensor of shape {tuple(value.shape)}"
