"""Halted focal loss inside transformers' detectors of the DETR family."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers.loss import loss_deformable_detr, loss_grounding_dino

from el_plugins.integrations.replacing import Replaced, check_signature, rebound
from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.losses.halted_focal import check_focal_options

# The loss of each model, the class whose loss_labels calls sigmoid_focal_loss, and the module of both.
DEFORMABLE = (loss_deformable_detr, "DeformableDetrImageLoss")
GROUNDING = (loss_grounding_dino, "GroundingDinoImageLoss")
HOSTS: dict[Any, tuple[Any, str]] = {
    loss_deformable_detr.DeformableDetrForObjectDetectionLoss: DEFORMABLE,
    loss_deformable_detr.DeformableDetrForSegmentationLoss: DEFORMABLE,
    loss_grounding_dino.GroundingDinoForObjectDetectionLoss: GROUNDING,
}


def use_halted_focal_loss(
    model: nn.Module,
    alpha: float | None = None,
    gamma: float | None = None,
    *,
    halt: str = "foreground",
    halt_threshold: float = 0.5,
) -> Replaced:
    """Let a detector of transformers compute halted focal loss, in place, until this is undone::

        with use_halted_focal_loss(model):
            loss = model(pixel_values, labels=labels).loss

    Deformable, Conditional and DAB-DETR, Grounding DINO and MM Grounding DINO. Only the focal loss of the
    classes is another; matching, boxes, weights and what is divided by stay the model's. RT-DETR and its kin
    are refused: their varifocal loss down-weights no object, so there is nothing to halt.

    Args:
        model: changed in place.
        alpha, gamma: None for the model's own, ``config.focal_alpha`` and 2.
        halt, halt_threshold: as in :func:`~el_plugins.losses.sigmoid_halted_focal_loss`.

    Raises:
        ValueError: a model with another loss, or an unknown version of transformers.
    """
    host: Any = getattr(model, "loss_function", None)
    if getattr(host, "__wrapped__", None) in HOSTS:
        raise ValueError(f"{type(model).__name__} has halted focal loss already: undo it by remove() first")
    if host not in HOSTS:
        names, has = ", ".join(loss.__name__ for loss in HOSTS), getattr(host, "__name__", host)
        raise ValueError(f"{type(model).__name__} must have one of the focal losses {names}, it has {has}")
    module, criterion_name = HOSTS[host]
    check_signature(module.sigmoid_focal_loss, "inputs", "targets", "num_boxes", "alpha", "gamma")
    loss = ReplacedFocalLoss(alpha, gamma, halt, halt_threshold, by_queries=module is loss_deformable_detr)
    criterion = getattr(module, criterion_name)
    loss_labels = rebound(criterion.loss_labels, sigmoid_focal_loss=loss)
    halted = type(criterion_name, (criterion,), {"loss_labels": loss_labels})
    replaced = Replaced()
    replaced.put(model, "_loss_function", rebound(host, **{criterion_name: halted}))
    return replaced


class ReplacedFocalLoss:
    """In the place of transformers' ``sigmoid_focal_loss``, with its arguments and divisors."""

    def __init__(
        self, alpha: float | None, gamma: float | None, halt: str, halt_threshold: float, *, by_queries: bool
    ) -> None:
        check_focal_options(
            0.25 if alpha is None else alpha, 2 if gamma is None else gamma, "sum", halt, halt_threshold
        )
        self.alpha, self.gamma, self.by_queries = alpha, gamma, by_queries
        self.halt, self.halt_threshold = halt, halt_threshold

    def __call__(
        self, inputs: Tensor, targets: Tensor, num_boxes: Tensor | float, alpha: float, gamma: float
    ) -> Tensor:
        """The sum over all elements, a box; Deformable DETR's takes the mean over queries, (N, Q, K)."""
        alpha = alpha if self.alpha is None else self.alpha
        gamma = gamma if self.gamma is None else self.gamma
        halted = partial(sigmoid_halted_focal_loss, halt=self.halt, halt_threshold=self.halt_threshold)
        total = halted(inputs, targets, alpha, gamma, "sum")
        return total / (num_boxes * inputs.size(1) if self.by_queries else num_boxes)
