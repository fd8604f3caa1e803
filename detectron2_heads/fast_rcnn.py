"""Fast R-CNN's box predictor with encouraging loss on its softmax, and the heads that use it."""

# No postponed annotations here: TorchScript reads the heads' Final attributes as types.
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, Res5ROIHeads, StandardROIHeads

from detectron2_heads.config import BONUS_EPS, LOG_END
from el_plugins.losses.encouraging import encouraging_loss
from el_plugins.losses.validation import check_number


class EncouragingFastRCNNOutputLayers(FastRCNNOutputLayers):
    """detectron2's box predictor whose classification loss is cross-entropy plus the log bonus.

    Args:
        log_end, bonus_eps: as in :func:`el_plugins.losses.encouraging_loss`, in [0, 1] and [0, 0.5).
        stock: the arguments of :class:`FastRCNNOutputLayers`.

    Raises:
        ValueError: ``log_end`` or ``bonus_eps`` is out of range, or ``use_sigmoid_ce`` asks
            for another classification.
    """

    @configurable
    def __init__(self, input_shape, *, log_end: float = LOG_END, bonus_eps: float = BONUS_EPS, **stock):
        super().__init__(input_shape, **stock)
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
        """The stock predictor's arguments and ours; a stock config without our keys gets the defaults."""
        head = cfg.MODEL.ROI_BOX_HEAD
        ours = {"log_end": head.get("LOG_END", LOG_END), "bonus_eps": head.get("BONUS_EPS", BONUS_EPS)}
        return {**super().from_config(cfg, input_shape), **ours}

    def losses(self, predictions, proposals):
        """The stock predictor's losses with ``loss_cls`` replaced; its statistics are logged as usual."""
        losses = super().losses(predictions, proposals)
        scores, _ = predictions
        if len(scores):
            classes = torch.cat([proposal.gt_classes for proposal in proposals])
            loss = encouraging_loss(scores, classes, log_end=self.log_end, bonus_eps=self.bonus_eps)
            losses["loss_cls"] = loss * self.loss_weight.get("loss_cls", 1.0)
        return losses


def encouraging_predictor(cfg: CfgNode, stock: FastRCNNOutputLayers) -> EncouragingFastRCNNOutputLayers:
    """Our predictor with the initial weights of ``stock``, so that runs of the same seed are paired.

    The random state afterwards is what it was: heads built later start from the stock model's weights too.
    """
    with torch.random.fork_rng(devices=[]):
        predictor = EncouragingFastRCNNOutputLayers(cfg, ShapeSpec(channels=stock.cls_score.in_features))
    predictor.load_state_dict(stock.state_dict())
    return predictor


@ROI_HEADS_REGISTRY.register()
class EncouragingROIHeads(StandardROIHeads):
    """``StandardROIHeads`` whose box predictor is :class:`EncouragingFastRCNNOutputLayers`.

    Raises:
        ValueError: the config is for the heads of a C4 model, which has no box head.
    """

    # detectron2's export marks these on StandardROIHeads, but TorchScript does not look at base classes.
    mask_on: torch.jit.Final[bool]  # type: ignore[misc]
    keypoint_on: torch.jit.Final[bool]  # type: ignore[misc]

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        if not cfg.MODEL.ROI_BOX_HEAD.NAME:
            raise ValueError(
                "EncouragingROIHeads (MODEL.ROI_HEADS.NAME) needs a box head (MODEL.ROI_BOX_HEAD.NAME), got "
                "none: for a C4 config take EncouragingRes5ROIHeads"
            )
        parts = super()._init_box_head(cfg, input_shape)
        return {**parts, "box_predictor": encouraging_predictor(cfg, parts["box_predictor"])}


@ROI_HEADS_REGISTRY.register()
class EncouragingRes5ROIHeads(Res5ROIHeads):
    """``Res5ROIHeads``, of C4 models, whose box predictor is :class:`EncouragingFastRCNNOutputLayers`."""

    mask_on: torch.jit.Final[bool]  # type: ignore[misc]

    @classmethod
    def from_config(cls, cfg, input_shape):
        """The stock heads' parts with the predictor replaced."""
        parts = super().from_config(cfg, input_shape)
        return {**parts, "box_predictor": encouraging_predictor(cfg, parts["box_predictor"])}
