"""The detectron2 adapter: importing it registers the models with halted focal and encouraging loss.

With ``DETECTRON2_ENV_MODULE=detectron2_heads`` in the environment detectron2 imports it by itself, so that
unchanged scripts find its models.
"""

from detectron2_heads.config import add_encouraging_config, add_halted_focal_config
from detectron2_heads.fast_rcnn import (
    EncouragingFastRCNNOutputLayers,
    EncouragingRes5ROIHeads,
    EncouragingROIHeads,
)
from detectron2_heads.fcos import HaltedFocalFCOS
from detectron2_heads.retinanet import HaltedFocalRetinaNet

__all__ = [
    "EncouragingFastRCNNOutputLayers",
    "EncouragingROIHeads",
    "EncouragingRes5ROIHeads",
    "HaltedFocalFCOS",
    "HaltedFocalRetinaNet",
    "add_encouraging_config",
    "add_halted_focal_config",
    "setup_environment",
]


def setup_environment() -> None:
    """Called by detectron2 for ``DETECTRON2_ENV_MODULE``; importing the package has done it all."""
