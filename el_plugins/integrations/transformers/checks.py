"""Which language models the loss can be attached to; the others are refused by name."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.models.auto import modeling_auto

from el_plugins.losses.linear_checks import is_whole
from el_plugins.losses.sharded import is_dtensor

# What changes the logits after the head, by the name of the setting.
AFTER_THE_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)
BY_LOGITS = (
    "train it by Trainer's compute_loss_func and encouraging_loss, on whole logits, those of a causal model "
    "shifted by one"
)


def language_model(model: nn.Module) -> PreTrainedModel:
    """``model`` itself, or the model inside PEFT's wrapper, checked but for its head.

    Raises:
        ValueError: neither causal nor sequence-to-sequence, another loss than transformers' own, or what
            changes the logits after the head.
    """
    unwrap = getattr(model, "get_base_model", None)
    unwrapped = model if unwrap is None else unwrap()
    kind = type(unwrapped).__name__
    if not isinstance(unwrapped, PreTrainedModel):
        wrapped = any(hasattr(unwrapped, name) for name in ("module", "_orig_mod"))
        hint = ": attach the loss before wrapping it for several processes or compiling it" if wrapped else ""
        raise ValueError(f"model must be a language model of transformers, got {kind}{hint}")
    forward = inspect.unwrap(unwrapped.forward)
    if forward.__module__.partition(".")[0] == "liger_kernel":
        raise ValueError(
            f"{kind} has Liger's loss already ({forward.__module__}.{forward.__name__}): load the model "
            "without Liger, or with fused_linear_cross_entropy=False"
        )
    if "_encouraging_loss" in vars(unwrapped):
        raise ValueError(f"{kind} has encouraging loss already: undo it by remove() first")
    check_kind(unwrapped)
    config = unwrapped.config.get_text_config(decoder=True)
    for name in AFTER_THE_HEAD:
        value = getattr(config, name, None)
        if value not in (None, 1):
            raise ValueError(f"{kind} changes its logits after the head, by {name}={value}: {BY_LOGITS}")
    return unwrapped


def check_kind(model: PreTrainedModel) -> None:
    """Raise ValueError unless ``model`` is causal or sequence-to-sequence, with the loss of its kind."""
    kind = type(model).__name__
    if model.config.is_encoder_decoder:
        if not {base.__name__ for base in type(model).__mro__} & sequence_to_sequence_names():
            raise ValueError(f"{kind} is no sequence-to-sequence model of transformers: {BY_LOGITS}")
        forward = inspect.unwrap(model.forward)
        if not forward.__module__.startswith("transformers."):
            raise ValueError(
                f"{kind} has a forward of its own ({forward.__module__}.{forward.__qualname__}), and what it "
                f"does with labels would be left out: {BY_LOGITS}"
            )
        check_routers(model, None)
        return
    loss = model.loss_function
    if loss is not ForCausalLMLoss:
        name = getattr(loss, "__qualname__", type(loss).__name__)
        raise ValueError(
            f"{kind} must have the loss ForCausalLMLoss, which this one replaces; it has {name}: {BY_LOGITS}"
        )
    forwards = [vars(base)["forward"] for base in type(model).__mro__ if "forward" in vars(base)]
    if not any("loss_function" in inspect.unwrap(forward).__code__.co_names for forward in forwards):
        raise ValueError(f"{kind} computes its loss without its loss_function: {BY_LOGITS}")


def check_routers(model: PreTrainedModel, output_router_logits: bool | None) -> None:
    """Raise ValueError where a sequence-to-sequence model adds a loss of its routers."""
    if output_router_logits is None:
        output_router_logits = getattr(model.config, "output_router_logits", False)
    if output_router_logits:
        raise ValueError(f"{type(model).__name__} adds a loss of its routers: set output_router_logits=False")


def position_of_labels(model: PreTrainedModel) -> int:
    """Which parameter of ``model``'s forward the labels are; ValueError where it names none."""
    parameters = list(inspect.signature(model.forward).parameters)
    if "labels" not in parameters:
        raise ValueError(f"{type(model).__name__}'s forward must have a parameter labels, got {parameters}")
    return parameters.index("labels")


def sequence_to_sequence_names() -> set[str]:
    """The classes that map text or speech to text."""
    text = modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()
    speech = modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES.values()
    return {name for names in (*text, *speech) for name in ((names,) if isinstance(names, str) else names)}


def plain_head(model: PreTrainedModel) -> nn.Linear:
    """The output layer of ``model``.

    Raises:
        ValueError: there is none, it is not torch's own (adapters, quantisation), or its weight is of a kind
            that has no gradient of its elements.
    """
    kind, head = type(model).__name__, model.get_output_embeddings()
    if head is None:
        raise ValueError(f"{kind} has no known head: get_output_embeddings() returns None; {BY_LOGITS}")
    if not isinstance(head, nn.Linear) or type(head).forward is not nn.Linear.forward:
        raise ValueError(
            f"{kind}'s head must be a plain torch.nn.Linear, got {type(head).__module__}."
            f"{type(head).__name__}: leave it out of PEFT's target_modules and modules_to_save and out of "
            f"quantisation, or {BY_LOGITS}"
        )
    if "forward" in vars(head):
        by = getattr(head.forward, "__module__", type(head.forward).__module__)
        raise ValueError(f"{kind}'s head has its forward replaced already, by {by}: undo that first")
    weight: Any = head.weight
    if not weight.is_floating_point() or not (is_whole(weight) or is_dtensor(weight)):
        kind_of_weight = f"{type(weight).__name__} of {weight.dtype}"
        raise ValueError(
            f"{kind}'s head must have a floating torch.Tensor as weight, got {kind_of_weight} (quantised?): "
            f"leave the head out of quantisation, or {BY_LOGITS}"
        )
    return head


def gathered(head: nn.Linear) -> Tensor:
    """The weight of ``head`` inside its forward, whole.

    Raises:
        ValueError: this process holds a part of it.
    """
    weight, whole = head.weight, (head.out_features, head.in_features)
    if is_dtensor(weight) or weight.shape != whole:
        kind = "DTensor" if is_dtensor(weight) else "tensor"
        raise ValueError(
            f"the head's weight must be gathered in its forward, {whole}, got a {kind} of shape "
            f"{tuple(weight.shape)}: FSDP2 gathers it when the whole model, too, is given to fully_shard; "
            "leave the head out of tensor parallelism"
        )
    return weight


def decoder_input_ids(model: PreTrainedModel, labels: Tensor) -> Tensor:
    """What the decoder of ``model`` reads for these labels, by the model's own function.

    Raises:
        ValueError: it has none that is known.
    """
    own = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if own is not None:
        return own(labels=labels)
    shift = getattr(sys.modules[type(model).__module__], "shift_tokens_right", None)
    if shift is None:
        raise ValueError(f"{type(model).__name__} must get decoder_input_ids beside labels in training")
    return shift(labels, model.config.pad_token_id, model.config.decoder_start_token_id)
