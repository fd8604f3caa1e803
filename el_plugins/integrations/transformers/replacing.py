"""Putting something in the place of what a model has, and what a model makes of its labels."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel


def replace(undo: ExitStack, owner: nn.Module, name: str, value: Any) -> None:
    """Set an attribute of this instance, and have ``undo`` set it back or take it away."""
    if name in vars(owner):
        undo.callback(setattr, owner, name, vars(owner)[name])
    else:
        undo.callback(vars(owner).pop, name, None)
    setattr(owner, name, value)


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


def decoder_input_ids(model: PreTrainedModel, labels: Tensor) -> Tensor:
    """What the decoder of ``model`` reads for these labels, by the model's own function.

    Raises:
        ValueError: it has none that is known.
    """
    own = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if own is not None:
        return own(labels=labels)
    shift = getattr(sys.modules[type(model).__module__], "shift_tokens_right", None)
    if shift is None:
        raise ValueError(f"{type(model).__name__} must get decoder_input_ids beside labels in training")
    return shift(labels, model.config.pad_token_id, model.config.decoder_start_token_id)
