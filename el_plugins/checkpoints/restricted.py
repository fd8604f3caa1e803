"""A pickle module for ``torch.load`` on torch older than 2.6, whose own check takes no further classes.

It builds tensors, what state dicts are made of, and the classes that :func:`allow` names: nothing else is
imported or called.
"""

from __future__ import annotations

import codecs
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable
from functools import cache
from pickle import UnpicklingError
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, BinaryIO, ClassVar

import torch._weights_only_unpickler

_allowed: dict[str, Any] = {"_codecs.encode": codecs.encode}  # it makes bytes


def allow(objects: Iterable[Any]) -> None:
    """Allow classes and functions, each as (object, name that pickles have) or by its own name."""
    for one in objects:
        found, name = one if isinstance(one, tuple) else (one, f"{one.__module__}.{one.__qualname__}")
        _allowed[name] = found


@cache
def _torch_classes() -> dict[str, Any]:
    return torch._weights_only_unpickler._get_allowed_globals()


class Unpickler(pickle._Unpickler):
    """Refuses every name that is not allowed, and to change a class, function or module by ``BUILD``."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of an allowed name."""
        # torch.save writes the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        for allowed in (_allowed, _torch_classes()):
            if full in allowed:
                return allowed[full]
        raise UnpicklingError(f"Unsupported global: GLOBAL {full}")

    def load_build(self: Any) -> None:
        """Set the state of the object before it on the stack."""
        if isinstance(self.stack[-2], (type, FunctionType, BuiltinFunctionType, ModuleType)):
            raise UnpicklingError("it changes a class or a function")
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def load(file: BinaryIO, **options: Any) -> Any:
    """``pickle.load``, restricted: for files of torch older than 1.6."""
    return Unpickler(file, **options).load()
