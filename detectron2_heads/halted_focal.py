"""Halted focal loss as the classification loss of detectron2's dense detectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.utils.events import get_event_storage
from torch import Tensor

from detectron2_heads.config import HALT, HALT_THRESHOLD
from el_plugins.losses.halted_focal import check_focal_options, focal_loss
from el_plugins.losses.kernels.focal import FocalSettings

# The detector's arguments, and the config keys that users type.
SHOWN = {
    "alpha": "focal_loss_alpha (MODEL.RETINANET.FOCAL_LOSS_ALPHA)",
    "gamma": "focal_loss_gamma (MODEL.RETINANET.FOCAL_LOSS_GAMMA)",
    "halt": "halt (MODEL.RETINANET.HALT)",
    "halt_threshold": "halt_threshold (MODEL.RETINANET.HALT_THRESHOLD)",
}


class HaltedFocal:
    """Mixin for a detectron2 ``DenseDetector`` with focal loss: the classification part of its ``losses``.

    Args:
        halt: which elements are halted: ``foreground``, ``both`` or ``authors``.
        halt_threshold: phi in (0, 1]; 1 halts nothing.
        detector: the detector's own arguments.

    Raises:
        ValueError: a setting is out of range; the message names argument and config key.
    """

    num_classes: int
    focal_loss_alpha: float
    focal_loss_gamma: float

    def __init__(self, *, halt: str = HALT, halt_threshold: float = HALT_THRESHOLD, **detector):
        super().__init__(**detector)
        check_focal_options(self.focal_loss_alpha, self.focal_loss_gamma, "sum", halt, halt_threshold, SHOWN)
        self.halt = halt
        self.halt_threshold = halt_threshold

    def foreground(self, labels: Tensor, initial: float) -> tuple[Tensor, float]:
        """The mask of object anchors, (N, R), and the running number of them that losses are divided by."""
        mask = (labels >= 0) & (labels != self.num_classes)
        count = mask.sum().item()
        get_event_storage().put_scalar("num_pos_anchors", count / len(labels))
        return mask, self._ema_update("loss_normalizer", max(count, 1), initial)  # type: ignore[attr-defined]

    def classification_loss(self, logits: Sequence[Tensor], labels: Tensor, divisor: float = 1) -> Tensor:
        """Halted focal loss summed over images, anchors and classes, without a copy of all logits.

        Args:
            logits: of each feature level (N, R_level, K), floating.
            labels: (N, sum of R_level) integers: a class below K, K for background, negative for ignored.
            divisor: of the sum; the running number of objects.

        Returns:
            float32 scalar, also under autocast (float64 for float64 logits).

        Raises:
            ValueError: a label above K (checked on CPU only).
        """
        levels = labels.split([level.size(1) for level in logits], dim=1)
        settings = FocalSettings(self.focal_loss_alpha, self.focal_loss_gamma, self.halt, self.halt_threshold)
        losses = [
            focal_loss(level, level_labels, settings, "sum", divisor)
            for level, level_labels in zip(logits, levels)
        ]
        return torch.stack(losses).sum()
