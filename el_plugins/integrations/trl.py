"""Encouraging loss in TRL's SFTTrainer, which computes its loss itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from trl import SFTTrainer

from el_plugins.integrations.transformers import AttachedLoss, use_encouraging_loss


class EncouragingSFTTrainer(SFTTrainer):
    """``SFTTrainer`` with encouraging loss: the model's own, by :func:`use_encouraging_loss`.

    Logs ``nll`` and ``well_classified``. TRL's own ``entropy`` and ``mean_token_accuracy``, which need the
    logits, and ``num_tokens`` are left out.

    Args:
        args, kwargs: those of ``SFTTrainer``.
        loss_options: those of :func:`~el_plugins.integrations.transformers.use_encouraging_loss`, such as
            ``{"log_end": 0.5}``.

    Attributes:
        attached: the :class:`~el_plugins.integrations.transformers.AttachedLoss`; ``remove()`` undoes it.

    Raises:
        ValueError: another loss is asked for too: Liger's kernels, ``loss_type``, ``compute_loss_func`` or
            ``label_smoothing_factor``; or the model is refused.
    """

    def __init__(self, *args: Any, loss_options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wanted = {"use_liger_kernel": False, "loss_type": "nll", "label_smoothing_factor": 0}
        for name, value in wanted.items():
            given = getattr(self.args, name)
            if given != value:
                raise ValueError(f"{name} must be {value!r} with encouraging loss, got {given!r}")
        if self.compute_loss_func is not None:
            raise ValueError("compute_loss_func must be left out: encouraging loss would be ignored")
        assert self.model is not None
        self.attached = use_encouraging_loss(self.model, **(loss_options or {}))
        self.attached.log_in(self)
        if self.aux_loss_enabled:
            self._take_over_routers(self.attached)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """The loss that the model returns, as in transformers' ``Trainer``."""
        inputs = {**inputs, "use_cache": False}
        if self.aux_loss_enabled:
            inputs["output_router_logits"] = True
        loss, outputs = super(SFTTrainer, self).compute_loss(model, inputs, True, num_items_in_batch)
        if self.aux_loss_enabled:  # as TRL weighs it
            steps = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss.to(loss.device) / steps
        return (loss, outputs) if return_outputs else loss

    @staticmethod
    def _take_over_routers(attached: AttachedLoss) -> None:
        """The model itself would add the loss of its routers by a coefficient that SFTConfig does not set."""
        if not hasattr(attached.model, "router_aux_loss_coef"):
            attached.remove()
            raise ValueError(
                f"router_aux_loss_coef must be 0.0 with encouraging loss in {type(attached.model).__name__}"
            )
        attached.put(attached.model, "router_aux_loss_coef", 0.0)
