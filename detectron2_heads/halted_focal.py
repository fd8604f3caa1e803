"""Halted focal loss as the classification loss of detectron2's dense detectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.utils.events import get_event_storage
from torch import Tensor

from detectron2_heads.config import HALT, HALT_THRESHOLD
from el_plugins.losses.halted_focal import HALTS, focal_loss
from el_plugins.losses.kernels.focal import FocalSettings
from el_plugins.losses.validation import check_choice, check_number

# Config keys that users type, by the constructor's argument.
KEYS = {
    "focal_loss_alpha": "MODEL.RETINANET.FOCAL_LOSS_ALPHA",
    "focal_loss_gamma": "MODEL.RETINANET.FOCAL_LOSS_GAMMA",
    "halt": "MODEL.RETINANET.HALT",
    "halt_threshold": "MODEL.RETINANET.HALT_THRESHOLD",
}


def check_settings(alpha: float, gamma: float, halt: str, halt_threshold: float) -> None:
    """Raise ValueError naming argument, config key, value and range of a setting that is out of range."""
    names = {name: f"{name} ({key})" for name, key in KEYS.items()}
    check_number(names["focal_loss_alpha"], alpha, high=1.0)
    check_number(names["focal_loss_gamma"], gamma, low=0.0)
    check_choice(names["halt"], halt, HALTS)
    check_number(names["halt_threshold"], halt_threshold, above=0.0, high=1.0)


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
        check_settings(self.focal_loss_alpha, self.focal_loss_gamma, halt, halt_threshold)
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
