"""What the criterion takes from a fairseq model: logits instead of log-probabilities, or features."""

import inspect

from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqLanguageModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from torch import Tensor, nn

# A model may do more than a log-softmax to its output; these do not.
STOCK = {
    BaseFairseqModel.get_normalized_probs,
    BaseFairseqModel.get_normalized_probs_scriptable,
    TransformerModelBase.get_normalized_probs,
    FairseqDecoder.get_normalized_probs,
    FairseqDecoder.get_normalized_probs_scriptable,
}
# Layers that do not read their output again in backward, so that the gradient may stand there.
LAYERS = {"AddmmBackward0", "LinearBackward0", "MmBackward0"}
VIEWS = {"UnsafeViewBackward0", "ViewBackward0"}


class AsLogits:
    """A stand-in for a model whose "log-probabilities" are its logits, where that is all it would change.

    A loss by softmax does not change when a row is shifted, so log-probabilities are logits too.
    """

    def __init__(self, model) -> None:
        self.model = model
        self.get_targets = model.get_targets

    def get_normalized_probs(self, net_output, log_probs):
        """The model's logits (..., V), or its own log-probabilities where it computes others."""
        owners = (self.model, getattr(self.model, "decoder", self.model))
        methods = ("get_normalized_probs", "get_normalized_probs_scriptable")
        own = {getattr(getattr(owner, name, None), "__func__", None) for owner in owners for name in methods}
        if own <= STOCK:
            # As fairseq's own, which takes a tensor from a model without a decoder.
            is_plain = isinstance(net_output, Tensor) and not hasattr(self.model, "decoder")
            return net_output if is_plain else net_output[0]
        return self.model.get_normalized_probs(net_output, log_probs=log_probs)


class AsFeatures(AsLogits):
    """A stand-in for a model whose "log-probabilities" are its decoder's features, (B, T, D)."""

    def get_normalized_probs(self, net_output, log_probs):
        """The features, which a model asked for ``features_only`` gives, time first in memory."""
        return net_output[0].contiguous()


def may_overwrite(logits: Tensor) -> bool:
    """Whether no operation before ``logits`` needs them again in backward."""
    node = logits.grad_fn
    while node is not None and node.name() in VIEWS:
        node = node.next_functions[0][0]
    return node is not None and node.name() in LAYERS


def output_projection(model) -> nn.Linear:
    """The layer that turns a decoder's features into logits.

    Raises:
        ValueError: the model gives no features, or no one linear layer turns them into logits.
    """
    decoder = getattr(model, "decoder", model)
    method = getattr(getattr(decoder, "output_layer", None), "__func__", None)
    projection = getattr(decoder, "output_projection", None)
    own = unwrapped(model)
    is_stock = method is TransformerDecoderBase.output_layer and gives_features(own)
    if not is_stock or not isinstance(projection, nn.Linear):
        raise ValueError(
            f"--fused-output-layer needs a Transformer decoder whose features the model gives, "
            f"its logits being one linear layer of them, which {type(own).__name__} has not: drop the flag"
        )
    return projection


def gives_features(model: nn.Module) -> bool:
    """Whether ``model`` takes ``features_only``; a language model passes all it gets to its decoder."""
    takes = inspect.signature(model.forward).parameters
    return "features_only" in takes or isinstance(model, FairseqLanguageModel)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside its wrappers for several processes."""
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model
