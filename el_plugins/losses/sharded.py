"""Row losses of DTensors: each process computes its own rows; sums and counts are over all processes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from el_plugins.losses.numerics import reduce

OLDEST = (2, 6)  # torch


def is_dtensor(value: Any) -> bool:
    """Whether ``value`` is a DTensor; does not import its module for plain tensors."""
    if value is None or type(value) in (Tensor, nn.Parameter) or not torch.distributed.is_available():
        return False
    return isinstance(value, dtensor().DTensor)


def dtensor() -> Any:
    """The module of DTensor, public since torch 2.5."""
    module = importlib.import_module("torch.distributed.tensor")
    return module if hasattr(module, "DTensor") else importlib.import_module("torch.distributed._tensor")


class Rows(NamedTuple):
    """How the rows of the logits are placed."""

    mesh: Any
    placements: Sequence[Any]
    shape: torch.Size  # of all losses

    def local(self, name: str, value: Any) -> Tensor:
        """This process' rows of ``value``, a DTensor on the same mesh or a plain tensor of all rows."""
        if not is_dtensor(value):
            value = dtensor().DTensor.from_local(value, self.mesh, self._replicated(), run_check=False)
        elif value.device_mesh != self.mesh:
            raise ValueError(f"{name} must be on input's mesh {self.mesh}, got {value.device_mesh}")
        check_placements(name, value.placements)
        return value.redistribute(self.mesh, self.placements).to_local()

    def reduce(self, loss: Tensor, reduction: str, count: Tensor | int | None = None) -> Tensor:
        """:func:`~el_plugins.losses.numerics.reduce` over all processes; a DTensor."""
        if reduction == "none":
            stride = torch.empty(self.shape, device="meta").stride()
            options = {"run_check": False, "shape": self.shape, "stride": stride}
            return dtensor().DTensor.from_local(loss, self.mesh, self.placements, **options)
        over_all = self._total(count).to_local() if isinstance(count, Tensor) else self.shape.numel()
        return self._total(reduce(loss, reduction, over_all))

    def _total(self, value: Tensor) -> Any:
        """The sum of ``value`` over the processes that hold different rows, replicated."""
        placements = [dtensor().Partial() if p.is_shard() else p for p in self.placements]
        parts = dtensor().DTensor.from_local(value, self.mesh, placements, run_check=False)
        return parts.redistribute(self.mesh, self._replicated())

    def _replicated(self) -> list[Any]:
        return [dtensor().Replicate() for _ in self.placements]


def shards_of(input: Any, target: Tensor, weight: Tensor | None, class_dim: int) -> Rows | None:
    """How the rows of ``input`` are placed, None if it is a plain tensor.

    Raises:
        ValueError: ``input`` is sharded by anything but its batch, only other arguments are DTensors, or
            torch is older than 2.6 (2.2 gives a wrong gradient).
    """
    if not is_dtensor(input):
        for name, value in {"target": target, "weight": weight}.items():
            if is_dtensor(value):
                raise ValueError(f"{name} must be a plain tensor as input is, got a DTensor")
        return None
    if torch.__version__ < OLDEST:  # type: ignore[operator]
        raise ValueError("input must be a plain tensor before torch 2.6, got a DTensor")
    check_placements("input", input.placements, batched=class_dim > 0)
    return Rows(input.device_mesh, input.placements, input.shape[:class_dim] + input.shape[class_dim + 1 :])


def local_weight(weight: Any) -> Tensor | None:
    """Class weights as a plain tensor; every process has all of them."""
    if weight is not None and weight.requires_grad:  # each process would compute only a part of it
        raise ValueError("weight must not require a gradient where input is a DTensor: detach it")
    if not is_dtensor(weight):
        return weight
    check_placements("weight", weight.placements, batched=False)
    return weight.to_local()


def check_placements(name: str, placements: Sequence[Any], batched: bool = True) -> None:
    """Raise ValueError unless all are ``Replicate``, or ``Shard(0)`` for a tensor with a batch."""
    module = dtensor()
    for placement in placements:
        by_batch = batched and type(placement) is module.Shard and placement.dim == 0
        if not by_batch and type(placement) is not module.Replicate:
            allowed = "Replicate() or Shard(dim=0)" if batched else "Replicate()"
            raise ValueError(f"{name}, a DTensor, must be placed by {allowed}, got {placement!r}")
