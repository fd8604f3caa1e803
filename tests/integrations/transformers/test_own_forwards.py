"""Models that do something of their own with labels or logits: right, NaN or refused, never another loss."""

from types import MethodType

import pytest
import torch
from torch import nn

pytest.importorskip("transformers")

from el_plugins.integrations.transformers import use_encouraging_loss
from tests.integrations.transformers.language_models import VOCABULARY, batch, made, transformers


def own_forward(self, input_ids, labels=None, **_):
    """As cut-cross-entropy and others compute the loss, from the head's weight."""
    hidden = self.model(input_ids).last_hidden_state
    if not self.training:
        logits = self.lm_head(hidden)
        loss = self.loss_function(logits, labels, VOCABULARY)
        return transformers.modeling_outputs.CausalLMOutputWithPast(loss=loss, logits=logits)
    logits = (hidden[:, :-1] @ self.lm_head.weight.T).flatten(0, 1)
    loss = nn.functional.cross_entropy(logits, labels[:, 1:].flatten())
    return transformers.modeling_outputs.CausalLMOutputWithPast(loss=loss)


def test_a_loss_without_the_head():
    config = made("Llama").config
    by_class = type("Own", (transformers.LlamaForCausalLM,), {"forward": own_forward})(config)
    by_instance = made("Llama")
    by_instance.forward = MethodType(own_forward, by_instance)
    for model in (by_class.train(), by_instance):
        inputs = batch(made("Llama"))
        with use_encouraging_loss(model):
            with pytest.raises(RuntimeError, match="computed a loss of its own, without its loss_function"):
                model(**inputs)
            assert model.eval()(**inputs).logits is not None


class Regularised(transformers.MarianMTModel):
    """A sequence-to-sequence model that makes more of its labels than the loss."""

    def forward(self, input_ids=None, labels=None, **kwargs):
        outputs = super().forward(input_ids=input_ids, labels=labels, **kwargs)
        if labels is not None:
            outputs.loss = outputs.loss + 5
        return outputs


def test_a_sequence_to_sequence_model_with_a_forward_of_its_own():
    model = Regularised(made("Marian").config)
    with pytest.raises(ValueError, match=r"Regularised has a forward of its own \(\S+Regularised.forward\)"):
        use_encouraging_loss(model)


class Unnamed(transformers.LlamaForCausalLM):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


def test_a_forward_that_names_no_labels():
    with pytest.raises(ValueError, match=r"Unnamed's forward must have a parameter labels, got \['args'"):
        use_encouraging_loss(Unnamed(made("Llama").config))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_hook_that_changes_the_logits_later(compiled):
    model = made("Llama")
    inputs = batch(model)
    factor = torch.ones(())
    model.lm_head.register_forward_hook(lambda module, args, output: output * factor)
    with use_encouraging_loss(model):
        run = torch.compile(model, backend="eager") if compiled else model
        assert run(**inputs).loss.isfinite()
        factor.fill_(0.5)
        assert run(**inputs).loss.isnan()


def test_several_at_a_time():
    model = made("Llama")
    inputs = batch(model)
    seen = []

    def another(*_):
        with pytest.raises(RuntimeError, match="in one forward of the model at a time"):
            model(**inputs)
        seen.append(True)

    with use_encouraging_loss(model):
        handle = model.lm_head.register_forward_pre_hook(another)
        expected = model(**inputs).loss
        handle.remove()
        assert torch.equal(model(**inputs).loss, expected)
        assert seen == [True]
        with pytest.raises(RuntimeError, match="use DistributedDataParallel"):
            model._replicate_for_data_parallel()
    model._replicate_for_data_parallel()
