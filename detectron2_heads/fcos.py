"""FCOS with halted focal loss, for LazyConfig as detectron2's own FCOS is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.modeling.box_regression import _dense_box_regression_loss
from detectron2.modeling.meta_arch.fcos import FCOS

from detectron2_heads.halted_focal import HaltedFocal


class HaltedFocalFCOS(HaltedFocal, FCOS):
    """detectron2's FCOS whose classification loss is halted focal loss.

    Weights, inference and export are those of :class:`FCOS`. ``halt`` and ``halt_threshold`` are
    described at :class:`HaltedFocal`; everything else is FCOS' own.
    """

    def losses(self, anchors, pred_logits, gt_labels, pred_anchor_deltas, gt_boxes, pred_centerness):
        """As FCOS': ``loss_fcos_cls``, ``loss_fcos_loc`` and ``loss_fcos_ctr``."""
        gt_labels = torch.stack(gt_labels)
        foreground, normalizer = self.foreground(gt_labels, initial=300)
        loss_cls = self.classification_loss(pred_logits, gt_labels, normalizer)
        loss_box_reg = _dense_box_regression_loss(
            anchors,
            self.box2box_transform,
            pred_anchor_deltas,
            gt_boxes,
            foreground,
            box_reg_loss_type="giou",
        )
        targets = self.compute_ctrness_targets(anchors, gt_boxes)
        centerness = torch.cat(pred_centerness, dim=1).squeeze(dim=2)
        loss_centerness = F.binary_cross_entropy_with_logits(
            centerness[foreground], targets[foreground], reduction="sum"
        )
        return {
            "loss_fcos_cls": loss_cls,
            "loss_fcos_loc": loss_box_reg / normalizer,
            "loss_fcos_ctr": loss_centerness / normalizer,
        }
