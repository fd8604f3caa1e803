"""The config keys of the heads, for detectron2's YAML configs."""

from detectron2.config import CfgNode

HALT = "foreground"
HALT_THRESHOLD = 0.5
LOG_END = 0.75
BONUS_EPS = 1e-5


def add_halted_focal_config(cfg: CfgNode) -> None:
    """Add the keys of :class:`HaltedFocalRetinaNet` to ``cfg``, with their defaults.

    ``MODEL.RETINANET.HALT`` (``foreground``, ``both`` or ``authors``) and
    ``MODEL.RETINANET.HALT_THRESHOLD`` (phi in (0, 1]; 1 is plain focal loss) mean what they mean in
    :func:`el_plugins.losses.sigmoid_halted_focal_loss`; alpha and gamma are RetinaNet's own
    ``FOCAL_LOSS_ALPHA`` and ``FOCAL_LOSS_GAMMA``. A config without these keys means the defaults.
    """
    cfg.MODEL.RETINANET.HALT = HALT
    cfg.MODEL.RETINANET.HALT_THRESHOLD = HALT_THRESHOLD


def add_encouraging_config(cfg: CfgNode) -> None:
    """Add the keys of :class:`EncouragingROIHeads` to ``cfg``, with their defaults.

    ``MODEL.ROI_BOX_HEAD.LOG_END`` (in [0, 1]) and ``MODEL.ROI_BOX_HEAD.BONUS_EPS`` (in [0, 0.5)) mean what
    they mean in :func:`el_plugins.losses.encouraging_loss`. A config without these keys means the defaults.
    """
    cfg.MODEL.ROI_BOX_HEAD.LOG_END = LOG_END
    cfg.MODEL.ROI_BOX_HEAD.BONUS_EPS = BONUS_EPS
