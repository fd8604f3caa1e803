"""The loss in the place of a model's output layer, whose logits are then never all there."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from el_plugins.integrations.transformers.checks import BY_LOGITS, gathered
from el_plugins.integrations.transformers.measured import Measured
from el_plugins.losses import EncouragingLoss, encouraging_loss, linear_encouraging_loss

IGNORED = -100  # as everywhere in transformers


class Request(NamedTuple):
    """What the head is to compute during one forward of the model, in training."""

    targets: Tensor  # class indices, in the shape of the hidden states without their last dimension
    items: Tensor | int | None  # to divide by; None for a mean


class HeadLoss:
    """What the output layer and the loss function of a model do while :attr:`request` is set.

    The layer computes the loss itself, since FSDP and DeepSpeed gather its weight for its forward only. In
    training it returns the loss in a tensor of one element, the carrier, which the model passes on as logits.
    """

    def __init__(self, model: PreTrainedModel, head: nn.Linear, loss: EncouragingLoss) -> None:
        self.model, self.head, self.loss = model, head, loss
        self.measured = Measured()
        self.request: Request | None = None
        self.is_asked = False  # whether the model has taken its loss here
        self._carrier: Tensor | None = None
        self._is_checked = False
        self._head_forward = head.forward

    def end(self) -> None:
        """Forget what one forward of the model asked for."""
        self.request = self._carrier = None
        self.is_asked = False

    def project(self, hidden: Tensor) -> Tensor:
        """The head's forward: in training, of hidden states (..., D), the loss in a tensor of one element."""
        request = self.request
        if request is None or not self.model.training or self._carrier is not None:
            return self._head_forward(hidden)
        positions = hidden.shape[:-1].numel()
        if request.targets.numel() != positions:
            raise self._unlike(positions, request)
        targets = request.targets.to(hidden.device).reshape(hidden.shape[:-1])
        bias = self._bias()
        loss, log_p = linear_encouraging_loss(
            hidden,
            gathered(self.head),
            targets,
            linear_bias=bias if bias is None else bias.to(hidden.dtype),
            return_log_prob=True,
            **self._options(request, hidden.device),
        )
        # A copy: FSDP's hooks miss what trainers do in place to a view.
        self._carrier = self._averaged(loss, request).reshape((1,) * hidden.dim()).clone()
        self.measured.add(log_p, targets != IGNORED, in_training=True)
        return self._carrier

    def loss_function(self, logits: Tensor, *_: Any, ignore_index: int = IGNORED, **__: Any) -> Tensor:
        """In the place of ForCausalLMLoss, whose targets this already has."""
        if ignore_index != IGNORED:
            raise ValueError(f"ignore_index must be {IGNORED}, got {ignore_index}")
        return self.loss_of(logits)

    def loss_of(self, logits: Tensor) -> Tensor:
        """The loss of the whole logits, or the one that the head has put in their place."""
        request = self.request
        assert request is not None  # set around every forward with labels
        self.is_asked = True
        if self._carrier is not None:
            return self._carried(logits, self._carrier)
        if self.model.training:
            raise RuntimeError(
                f"{type(self.model).__name__} did not call the head that it had when the loss was attached: "
                "attach it again after its head was replaced or wrapped, as PEFT's adapters do"
            )
        targets = request.targets.to(logits.device).reshape(-1)
        rows = logits.reshape(-1, logits.size(-1))
        if len(rows) != len(targets):
            raise self._unlike(len(rows), request)
        loss, log_p = encouraging_loss(
            rows, targets, return_log_prob=True, **self._options(request, logits.device)
        )
        self.measured.add(log_p, targets != IGNORED, in_training=False)
        return self._averaged(loss, request)

    def _carried(self, logits: Tensor, carrier: Tensor) -> Tensor:
        """The loss out of what the model has made of the head's output."""
        if logits is carrier:
            return carrier.sum()
        bias = getattr(self.model, "final_logits_bias", None)
        may_differ = bias is not None or self.head._forward_hooks  # DeepSpeed's hooks copy what goes through
        wanted = carrier if bias is None else carrier + bias
        if not (may_differ and logits.shape == wanted.shape):
            raise self._changed()
        equal = (logits == wanted).all()
        is_checked = self._is_checked or torch.compiler.is_compiling()
        if not is_checked and carrier.isfinite():  # once: a GPU would wait for it
            if not equal:
                raise self._changed()
            self._is_checked = True
        peak = logits.amax()  # its gradient by the carrier is 1, whatever the bias
        loss = carrier.detach().reshape(()) + (peak - peak.detach())
        # Where nobody waits for the comparison, in compiled code and later: NaN, not another loss.
        return torch.where(equal, loss, torch.nan)

    @staticmethod
    def _unlike(positions: int, request: Request) -> ValueError:
        return ValueError(
            f"labels must name a target for each of the head's {positions} positions, got "
            f"{tuple(request.targets.shape)}: leave logits_to_keep out beside labels"
        )

    def _changed(self) -> ValueError:
        return ValueError(
            f"{type(self.model).__name__} changes its logits after the head (a soft cap, a scale, "
            f"an adapter): {BY_LOGITS}"
        )

    def _bias(self) -> Tensor | None:
        """The head's bias and what the model adds to its output, (V)."""
        bias, final = self.head.bias, getattr(self.model, "final_logits_bias", None)
        if final is None:
            return bias
        return final.reshape(-1) if bias is None else bias + final.reshape(-1)

    def _options(self, request: Request, device: torch.device) -> dict[str, Any]:
        loss = self.loss
        return {
            "weight": None if loss.weight is None else loss.weight.to(device),
            "reduction": "mean" if request.items is None else "sum",
            "label_smoothing": loss.label_smoothing,
            "smoothing": loss.smoothing,
            **loss.bonus.arguments(),
        }

    @staticmethod
    def _averaged(loss: Tensor, request: Request) -> Tensor:
        items = request.items
        if items is None:
            return loss
        if not torch.is_tensor(items):
            return loss / (items or 1)
        items = items.to(loss.device)
        return loss / items.masked_fill(items == 0, 1)  # without any target 0, not 0 / 0
