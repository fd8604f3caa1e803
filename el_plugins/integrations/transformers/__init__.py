"""The losses inside transformers' models: encouraging loss for language models."""

from el_plugins.integrations.transformers.language_models import AttachedLoss, use_encouraging_loss

__all__ = ["AttachedLoss", "use_encouraging_loss"]
