"""The losses, as functions and as modules; they need only torch and are exact in every precision."""

from el_plugins.losses.binary import BinaryEncouragingLossWithLogits, binary_encouraging_loss_with_logits
from el_plugins.losses.encouraging import EncouragingLoss, encouraging_loss
from el_plugins.losses.halted_focal import SigmoidHaltedFocalLoss, sigmoid_halted_focal_loss
from el_plugins.losses.linear import LinearEncouragingLoss, linear_encouraging_loss
from el_plugins.losses.mirror_mse import MirrorMSELoss, mirror_mse_loss
from el_plugins.losses.schedule import BonusSchedule

__all__ = [
    "BinaryEncouragingLossWithLogits",
    "BonusSchedule",
    "EncouragingLoss",
    "LinearEncouragingLoss",
    "MirrorMSELoss",
    "SigmoidHaltedFocalLoss",
    "binary_encouraging_loss_with_logits",
    "encouraging_loss",
    "linear_encouraging_loss",
    "mirror_mse_loss",
    "sigmoid_halted_focal_loss",
]
