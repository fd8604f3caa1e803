"""detectron2's side of the plugin: importing it registers the models with halted focal and encouraging loss.

Named by the environment variable ``DETECTRON2_ENV_MODULE`` it is imported by detectron2 itself, so that
scripts which know nothing of it find its models.
"""

from detectron2_heads.config import add_encouraging_config, add_halted_focal_config
from detectron2_heads.fast_rcnn import EncouragingFastRCNNOutputLayers, EncouragingROIHeads
from detectron2_heads.fcos import HaltedFocalFCOS
from detectron2_heads.retinanet import HaltedFocalRetinaNet

__all__ = [
    "EncouragingFastRCNNOutputLayers",
    "EncouragingROIHeads",
    "HaltedFocalFCOS",
    "HaltedFocalRetinaNet",
    "add_encouraging_config",
    "add_halted_focal_config",
    "setup_environment",
]


def setup_environment() -> None:
    """What detectron2 calls in ``DETECTRON2_ENV_MODULE``: the import has done it all."""
