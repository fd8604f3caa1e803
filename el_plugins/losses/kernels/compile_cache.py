"""Functions through torch.compile, each compiled once, and which numbers are constants of their code."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.kernels.fallback import with_fallback

# For so many settings a function is compiled in one process; with more it runs uncompiled. torch's own is 8.
MAX_SETTINGS = 64


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` through torch.compile, or as it is where that fails.

    The code is for any number of rows, but for one V of arguments (n, V): it is faster than for any.
    """
    dynamic = torch.compile(function, dynamic=True)
    # Settings are constants. As variables, which torch makes of numbers for dynamic sizes, they have given
    # wrong results: code compiled for one gamma or exponent was run for another (seen with torch 2.14).
    dynamo = torch._dynamo.config
    limit = "recompile_limit" if hasattr(dynamo, "recompile_limit") else "cache_size_limit"
    changes = {"specialize_int": True, "specialize_float": True, limit: MAX_SETTINGS}
    changes = {name: value for name, value in changes.items() if hasattr(dynamo, name)}

    def fast(*arguments: Any) -> Any:
        for x in arguments:
            if isinstance(x, Tensor) and x.dim() == 2:
                torch._dynamo.mark_static(x, 1)
        with dynamo.patch(changes):
            return dynamic(*arguments)

    return with_fallback(fast, function)


def with_dynamic_weight(bonus: Bonus, path: str, like: Tensor) -> Bonus:
    """``bonus`` with its weight as a tensor for compiled code, of which a number would be a constant.

    Where the weight is scheduled it changes at every update, and a constant would be compiled each time.
    """
    if path != "compiled" or bonus.is_nothing:
        return bonus
    wide = torch.promote_types(like.dtype, torch.float32)
    dynamic = copy.copy(bonus)  # checked before; a tensor is for compiled code alone
    weight = torch.as_tensor(bonus.weight, dtype=wide, device=like.device)
    object.__setattr__(dynamic, "weight", weight)
    return dynamic
