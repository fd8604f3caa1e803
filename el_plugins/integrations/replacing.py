"""Putting a loss in the place of what a model has, in this one model, and taking it out again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from types import FunctionType
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from typing_extensions import Self


class Replaced:
    """What a model has got in the place of its own; leaving it as a context undoes it, too."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def put(self, owner: nn.Module, name: str, value: Any) -> None:
        """Set an attribute of this instance until :meth:`remove`."""
        if name in vars(owner):
            self._undo.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._undo.callback(vars(owner).pop, name, None)
        setattr(owner, name, value)

    def remove(self) -> None:
        """Give the model its own back; what replaced these attributes since goes with it."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def forward_like(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A function in the place of ``forward``, with its name and signature, which hosts read.

    It finds the attached loss by the model, so that a copied model has its own.
    """

    @functools.wraps(forward)
    def encouraging_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._encouraging_loss._forward(*args, **kwargs)

    # accelerate takes wrappers away until it finds the forward that it wrapped itself.
    del encouraging_forward.__wrapped__
    encouraging_forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return encouraging_forward


def rebound(function: Any, **names: Any) -> Any:
    """``function`` with other values for global ``names``, which stay as they are for everyone else.

    Raises:
        ValueError: it does not read one of them.
    """
    for name in names:
        if name not in function.__code__.co_names:
            raise ValueError(f"{function.__module__}.{function.__qualname__} does not call {name}")
    values = {**function.__globals__, **names}
    code = function.__code__.replace()  # a copy: torch.compile keeps what it compiled by the code object
    other = FunctionType(code, values, function.__name__, function.__defaults__, function.__closure__)
    other.__kwdefaults__ = function.__kwdefaults__
    return functools.update_wrapper(other, function)


def check_signature(function: Any, *names: str) -> None:
    """Raise ValueError unless ``function`` has just these parameters: another version may mean others."""
    found = tuple(inspect.signature(function).parameters)
    if found != names:
        raise ValueError(
            f"{function.__module__}.{function.__name__} must have the parameters {', '.join(names)}, got "
            f"{', '.join(found)}: this version of its library is not known"
        )
