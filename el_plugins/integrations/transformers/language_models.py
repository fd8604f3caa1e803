"""Encouraging loss inside language models of transformers, in training without their logits."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.integrations.replacing import Replaced, forward_like
from el_plugins.integrations.transformers import checks
from el_plugins.integrations.transformers.heads import IGNORED, HeadLoss, Request
from el_plugins.integrations.transformers.measured import LogMeasured
from el_plugins.losses import EncouragingLoss

if TYPE_CHECKING:
    from transformers import Trainer


def use_encouraging_loss(model: nn.Module, log_end: float = 0.5, **options: Any) -> AttachedLoss:
    """Let a language model of transformers compute encouraging loss, in place, until this is undone::

        with use_encouraging_loss(model, log_end=0.5, label_smoothing=0.1) as attached:
            trainer = Trainer(model, ...)
            attached.log_in(trainer)
            trainer.train()

    Causal and sequence-to-sequence models whose logits are one linear layer of their hidden states, alone or
    inside PEFT's wrapper. With ``labels`` the model returns as ``loss`` what
    :func:`~el_plugins.losses.encouraging_loss` gives for its logits and its own targets: shifted in causal
    models, -100 left out, divided by ``num_items_in_batch`` where it is given, the losses of routers added
    where the model adds them. In training ``logits`` are None and never all there, see
    :func:`~el_plugins.losses.linear_encouraging_loss`; in evaluation they are whole.

    Args:
        model: changed in place. Before it is compiled, or wrapped for several processes.
        log_end: the p from which the bonus continues as its tangent.
        options: ``label_smoothing``, ``smoothing``, ``weight``, ``bonus`` and the other options of
            :class:`~el_plugins.losses.EncouragingLoss`.

    Raises:
        ValueError: an option is out of range, or the model is one for which this would be wrong: the message
            says why. In training also labels that do not reach the model, as Trainer's
            ``label_smoothing_factor`` and ``compute_loss_func`` take them out.
        RuntimeError: in training, the model's forward or head was replaced after this call.
    """
    for name in {"reduction", "ignore_index", "inplace"} & options.keys():
        raise ValueError(f"{name} must be left out, got {options[name]}: the model says what counts")
    return AttachedLoss(model, EncouragingLoss(log_end=log_end, **options))


class AttachedLoss(Replaced):
    """The loss inside a model, made by :func:`use_encouraging_loss`; leaving it as a context undoes it.

    Attributes:
        model: the language model, unwrapped.
        loss: its :class:`~el_plugins.losses.EncouragingLoss`, which a ``BonusSchedule`` may drive.
        measured: ``take(in_training=...)`` gives ``nll`` and ``well_classified`` since it was last called.
    """

    def __init__(self, model: nn.Module, loss: EncouragingLoss) -> None:
        super().__init__()
        self.model, self.loss = checks.language_model(model), loss
        self._head = HeadLoss(self.model, checks.plain_head(self.model), loss)
        self.measured = self._head.measured
        self._is_causal = not self.model.config.is_encoder_decoder
        self._is_running = False
        self._model_forward = self.model.forward
        self._labels_at = checks.position_of_labels(self.model)
        self._attach()

    def _attach(self) -> None:
        """Put this in the place of the model's forward and loss and the head's forward."""
        model, head = self.model, self._head
        self.put(model, "_encouraging_loss", self)
        self.put(model, "forward", MethodType(forward_like(type(model).forward), model))
        self.put(model, "accepts_loss_kwargs", True)
        self.put(model, "_replicate_for_data_parallel", self._refuse_to_be_replicated)
        self.put(head.head, "forward", head.project)
        if self._is_causal:
            self.put(model, "_loss_function", head.loss_function)
        body = model.get_decoder()
        body = model.get_input_embeddings() if body is model else body
        self._undo.callback(body.register_forward_pre_hook(self._refuse_to_be_ignored).remove)

    def log_in(self, trainer: Trainer) -> None:
        """Add ``nll`` and ``well_classified`` to what ``trainer`` logs, in evaluation with its prefix.

        The mean of -log p of the target tokens, in nats and without bonus and smoothing, as plain
        cross-entropy; and the share of target tokens with p > 1/2: since the last log, over all processes.

        Raises:
            ValueError: ``trainer`` will train another model, which its ``model_init`` makes, or would keep
                the checkpoint of the highest ``nll`` as the best one.
        """
        if trainer.model_init is not None:
            raise ValueError(
                "trainer must have no model_init, which makes another model, without this loss, at train(): "
                "give it the model, or call use_encouraging_loss inside model_init and leave log_in out"
            )
        best = trainer.args.metric_for_best_model
        if best is not None and best.endswith("nll") and trainer.args.greater_is_better:
            raise ValueError(
                f"greater_is_better must be False for metric_for_best_model={best!r}: transformers' default "
                "is True for every name that does not end in loss"
            )
        # In front of the callbacks that report to TensorBoard and others.
        trainer.callback_handler.callbacks.insert(0, LogMeasured(self.measured))

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's forward: with labels by way of the head or of whole logits, without as it was."""
        labels = kwargs.get("labels")
        if labels is None:
            self._refuse_without_labels(len(args))
            return self._run(args, kwargs)
        if kwargs.get("fused_lm_head"):
            raise ValueError(
                "TRL's trainer computes its own loss, fused_lm_head=True, and would ignore encouraging loss: "
                "use el_plugins.integrations.trl.EncouragingSFTTrainer"
            )
        if self._head.request is not None:
            raise RuntimeError(
                "encouraging loss is computed in one forward of the model at a time: no threads"
            )
        items, shifted = kwargs.pop("num_items_in_batch", None), kwargs.pop("shift_labels", None)
        as_tuple = kwargs.pop("return_dict", self.model.config.return_dict) is False
        self._head.request = Request(self._targets(labels, shifted), items)
        try:
            if not self._is_causal:
                kwargs = self._without_labels(kwargs)
            outputs = self._run(args, {**kwargs, "return_dict": True})
            loss = outputs.loss if self._is_causal else self._head.loss_of(outputs.logits)
            if not self._head.is_asked:
                raise RuntimeError(
                    f"{type(self.model).__name__} computed a loss of its own, without its loss_function: "
                    f"encouraging loss would be ignored; {checks.BY_LOGITS}"
                )
        finally:
            self._head.end()
        logits = None if self.model.training else outputs.logits
        outputs = type(outputs)(**{**outputs, "loss": loss, "logits": logits})
        return outputs.to_tuple() if as_tuple else outputs

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._is_running = True
        try:
            return self._model_forward(*args, **kwargs)
        finally:
            self._is_running = False

    def _targets(self, labels: Tensor, shifted: Tensor | None) -> Tensor:
        """What each position is to predict; the last one of a causal model predicts nothing."""
        if shifted is not None:
            return shifted
        return F.pad(labels, (0, 1), value=IGNORED)[..., 1:] if self._is_causal else labels

    def _without_labels(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments for a sequence-to-sequence model that make what it does of labels beside the loss."""
        checks.check_routers(self.model, kwargs.get("output_router_logits"))
        labels, kwargs = kwargs["labels"], {"use_cache": False, **kwargs, "labels": None}
        if kwargs.get("decoder_input_ids") is None and kwargs.get("decoder_inputs_embeds") is None:
            kwargs["decoder_input_ids"] = checks.decoder_input_ids(self.model, labels)
        return kwargs

    def _refuse_without_labels(self, positional: int) -> None:
        if positional > self._labels_at:
            raise ValueError("labels must be given by name")
        if self.model.training and torch.is_grad_enabled():
            raise ValueError(
                "in training the model must get labels, or encouraging loss would be ignored: leave out the "
                "trainer's label_smoothing_factor (use_encouraging_loss has label_smoothing) and "
                "compute_loss_func, or undo the loss by remove()"
            )

    def _refuse_to_be_replicated(self) -> None:
        raise RuntimeError(
            "DataParallel would run its replicas on the weights of the first: use DistributedDataParallel "
            "(torchrun), or one GPU (CUDA_VISIBLE_DEVICES=0), with encouraging loss"
        )

    def _refuse_to_be_ignored(self, module: nn.Module, _: Any) -> None:
        """Before the body of the model: raise RuntimeError where a replaced forward runs it in training."""
        if self._is_running or not (module.training and torch.is_grad_enabled()):
            return
        forward = inspect.unwrap(self.model.forward)
        raise RuntimeError(
            "encouraging loss would be ignored: the model runs without the forward that it got for it, by "
            f"{forward.__module__}.{forward.__qualname__}. Leave out what replaced it, such as Liger's loss "
            "or TRL's, or undo encouraging loss by remove()"
        )
