"""The Fast R-CNN box predictor with encouraging loss on its softmax classification."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, StandardROIHeads

from detectron2_heads.config import BONUS_EPS, LOG_END
from el_plugins.losses.encouraging import encouraging_loss
from el_plugins.losses.validation import check_number


class EncouragingFastRCNNOutputLayers(FastRCNNOutputLayers):
    """detectron2's box predictor whose classification loss is cross-entropy plus the log bonus.

    Args:
        log_end, bonus_eps: as in :func:`el_plugins.losses.encouraging_loss`, in [0, 1] and [0, 0.5).
        arguments: those of :class:`FastRCNNOutputLayers`.

    Raises:
        ValueError: ``log_end`` or ``bonus_eps`` is out of range, or ``use_sigmoid_ce`` asks
            for another classification.
    """

    @configurable
    def __init__(self, input_shape, *, log_end: float = LOG_END, bonus_eps: float = BONUS_EPS, **arguments):
        super().__init__(input_shape, **arguments)
        check_number("log_end (MODEL.ROI_BOX_HEAD.LOG_END)", log_end, low=0.0, high=1.0)
        check_number("bonus_eps (MODEL.ROI_BOX_HEAD.BONUS_EPS)", bonus_eps, low=0.0, below=0.5)
        if self.use_sigmoid_ce:
            raise ValueError(
                "use_sigmoid_ce (MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE) must be False: "
                "encouraging loss here is for the softmax over classes, got True"
            )
        self.log_end = log_end
        self.bonus_eps = bonus_eps

    @classmethod
    def from_config(cls, cfg, input_shape):
        """The stock predictor's arguments and ours; a stock config without our keys means the defaults."""
        head = cfg.MODEL.ROI_BOX_HEAD
        ours = {"log_end": head.get("LOG_END", LOG_END), "bonus_eps": head.get("BONUS_EPS", BONUS_EPS)}
        return {**super().from_config(cfg, input_shape), **ours}

    def losses(self, predictions, proposals):
        """As the stock predictor's, with another ``loss_cls``; its own is computed for its statistics."""
        losses = super().losses(predictions, proposals)
        scores, _ = predictions
        if len(scores):
            classes = torch.cat([proposal.gt_classes for proposal in proposals])
            loss = encouraging_loss(scores, classes, log_end=self.log_end, bonus_eps=self.bonus_eps)
            losses["loss_cls"] = loss * self.loss_weight.get("loss_cls", 1.0)
        return losses


@ROI_HEADS_REGISTRY.register()
class EncouragingROIHeads(StandardROIHeads):
    """``StandardROIHeads`` whose box predictor is :class:`EncouragingFastRCNNOutputLayers`."""

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        arguments = super()._init_box_head(cfg, input_shape)
        shape = arguments["box_head"].output_shape
        return {**arguments, "box_predictor": EncouragingFastRCNNOutputLayers(cfg, shape)}
