"""Halted focal loss inside torchvision's RetinaNet and FCOS."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.ops import sigmoid_focal_loss

from el_plugins.integrations.replacing import Replaced, check_signature, rebound
from el_plugins.losses import SigmoidHaltedFocalLoss


def use_halted_focal_loss(
    model: nn.Module,
    alpha: float = 0.25,
    gamma: float = 2.0,
    *,
    halt: str = "foreground",
    halt_threshold: float = 0.5,
) -> Replaced:
    """Let a detector of torchvision be trained with halted focal loss, in place, until this is undone::

        with use_halted_focal_loss(model):
            losses = model(images, targets)

    Only the focal loss of the classes is another; what is counted and divided by stays torchvision's.

    Args:
        model: ``RetinaNet`` or ``FCOS``, changed in place.
        alpha, gamma, halt, halt_threshold: as in :func:`~el_plugins.losses.sigmoid_halted_focal_loss`;
            ``alpha`` and ``gamma`` have torchvision's values.

    Raises:
        ValueError: another model, one whose loss is not torchvision's, or an unknown version of it.
    """
    if not isinstance(model, (RetinaNet, FCOS)):
        raise ValueError(f"model must be torchvision's RetinaNet or FCOS, got {type(model).__name__}")
    check_signature(sigmoid_focal_loss, "inputs", "targets", "alpha", "gamma", "reduction")
    head: Any = model.head.classification_head if isinstance(model, RetinaNet) else model.head
    loss = SigmoidHaltedFocalLoss(alpha, gamma, "sum", halt=halt, halt_threshold=halt_threshold)

    def focal_loss(inputs: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
        assert reduction == "sum"
        return loss(inputs, targets)

    if "compute_loss" in vars(head):
        raise ValueError(f"{type(model).__name__} has another loss already: undo it by remove() first")
    replaced = Replaced()
    compute_loss = rebound(type(head).compute_loss, sigmoid_focal_loss=focal_loss)
    replaced.put(head, "compute_loss", ComputeLoss(compute_loss, head))
    return replaced


class ComputeLoss:
    """``compute_loss`` of a ``head`` by another function; a copy of the model has its own."""

    def __init__(self, function: Any, head: nn.Module) -> None:
        self.function, self.head = function, head

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the head's method."""
        return self.function(self.head, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> ComputeLoss:
        return ComputeLoss(self.function, copy.deepcopy(self.head, memo))

    def __reduce__(self) -> NoReturn:
        raise TypeError("the halted focal loss would be lost: undo it by remove() before pickling the model")
