"""What runs with and without the bonus are compared by: cross-entropy and well-classified tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Measured:
    """Sums over the target tokens since they were last taken, in training and in evaluation."""

    def __init__(self) -> None:
        self._totals: dict[bool, Tensor] = {}  # of -log p, of p > 1/2 and of tokens

    def add(self, log_p: Tensor, valid: Tensor, *, in_training: bool) -> None:
        """Count the tokens that are ``valid``, (N), of log probability ``log_p``, (N)."""
        log_p, valid = log_p.detach().reshape(-1), valid.reshape(-1)
        well_classified = (log_p > math.log(0.5)) & valid
        wide = torch.float32 if log_p.device.type == "mps" else torch.float64  # MPS has no float64
        sums = torch.stack([part.to(wide).sum() for part in (-log_p, well_classified, valid)])
        before = self._totals.get(in_training)
        self._totals[in_training] = sums if before is None else before + sums

    def take(self, *, in_training: bool) -> dict[str, float]:
        """``nll`` in nats and ``well_classified``, a share, of all processes since the last call.

        Empty where there was no token. With several processes, all of them call this.
        """
        totals = self._totals.pop(in_training, None)
        if dist.is_available() and dist.is_initialized():
            parts: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, None if totals is None else totals.tolist())
            sums = [sum(values) for values in zip(*(part for part in parts if part is not None))]
        else:
            sums = [] if totals is None else totals.tolist()
        if not sums or not sums[2]:
            return {}
        return {"nll": sums[0] / sums[2], "well_classified": sums[1] / sums[2]}


class LogMeasured(TrainerCallback):
    """Adds what :class:`Measured` has to each log of the loss, under the loss' prefix."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """After a log of training or of evaluation."""
        logs = {} if logs is None else logs
        losses = [name for name in logs if name == "loss" or name.endswith("_loss")]
        for name in losses:
            if name != "train_loss":  # the summary of the whole run
                self._add_to(logs, name[: -len("loss")])
        if losses and state.log_history:
            state.log_history[-1].update(logs)

    def on_predict(self, *args: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """After a prediction, which is not logged."""
        for name in [name for name in metrics if name.endswith("_loss")]:
            self._add_to(metrics, name[: -len("loss")])

    def _add_to(self, logs: dict[str, float], prefix: str) -> None:
        taken = self.measured.take(in_training=not prefix)
        logs.update({f"{prefix}{name}": value for name, value in taken.items()})
