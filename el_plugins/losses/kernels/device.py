"""Kernels run on the GPU that holds their tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def on_its_device(launch: Callable[..., Any]) -> Callable[..., Any]:
    """``launch`` with the GPU of its first tensor as the current one, on which Triton launches."""

    @functools.wraps(launch)
    def call(x: torch.Tensor, *arguments: Any) -> Any:
        with torch.cuda.device_of(x):
            return launch(x, *arguments)

    return call
