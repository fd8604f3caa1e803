"""The losses inside transformers' models: language models, and detectors of the DETR family."""

from el_plugins.integrations.transformers.detectors import use_halted_focal_loss
from el_plugins.integrations.transformers.language_models import AttachedLoss, use_encouraging_loss

__all__ = ["AttachedLoss", "use_encouraging_loss", "use_halted_focal_loss"]
