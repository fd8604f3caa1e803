"""RetinaNet with halted focal loss (Eq. 11 and Table 10 of the paper)."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.box_regression import _dense_box_regression_loss
from detectron2.modeling.meta_arch import RetinaNet

from detectron2_heads.config import HALT, HALT_THRESHOLD
from detectron2_heads.halted_focal import HaltedFocal


@META_ARCH_REGISTRY.register()
class HaltedFocalRetinaNet(HaltedFocal, RetinaNet):
    """detectron2's RetinaNet whose classification loss is halted focal loss.

    Weights, inference and export are those of :class:`RetinaNet`. ``halt`` and ``halt_threshold`` are
    described at :class:`HaltedFocal`; everything else is RetinaNet's own.
    """

    @configurable
    def __init__(self, **arguments):
        super().__init__(**arguments)

    @classmethod
    def from_config(cls, cfg):
        """RetinaNet's arguments and ours; keys that a stock config lacks have their defaults."""
        keys = cfg.MODEL.RETINANET
        halt = {"halt": keys.get("HALT", HALT), "halt_threshold": keys.get("HALT_THRESHOLD", HALT_THRESHOLD)}
        return {**super().from_config(cfg), **halt}

    def losses(self, anchors, pred_logits, gt_labels, pred_anchor_deltas, gt_boxes):
        """As RetinaNet's: ``loss_cls`` and ``loss_box_reg``, divided by the running number of objects."""
        gt_labels = torch.stack(gt_labels)
        foreground, normalizer = self.foreground(gt_labels, initial=100)
        loss_cls = self.classification_loss(pred_logits, gt_labels, normalizer)
        loss_box_reg = _dense_box_regression_loss(
            anchors,
            self.box2box_transform,
            pred_anchor_deltas,
            gt_boxes,
            foreground,
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )
        return {"loss_cls": loss_cls, "loss_box_reg": loss_box_reg / normalizer}
