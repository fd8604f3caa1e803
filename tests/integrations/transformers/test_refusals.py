"""Models and uses for which the loss would be wrong or ignored: refused by name, and left as they were."""

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

pytest.importorskip("transformers")

from el_plugins.integrations.transformers import use_encouraging_loss
from tests.integrations.transformers.language_models import (
    BOTH,
    DECODER,
    SIZES,
    VOCABULARY,
    batch,
    made,
    transformers,
)


def of(architecture, config, **settings):
    return getattr(transformers, architecture)(getattr(transformers, config)(**settings)).train()


def test_changed_logits():
    for architecture, config, setting in (
        ("Gemma2ForCausalLM", "Gemma2Config", {"head_dim": 8, "final_logit_softcapping": 30.0}),
        ("GraniteForCausalLM", "GraniteConfig", {"logits_scaling": 8.0}),
        ("CohereForCausalLM", "CohereConfig", {"logit_scale": 0.0625}),
    ):
        model = of(architecture, config, **DECODER, **setting)
        name = list(setting)[-1]
        with pytest.raises(ValueError, match=f"{architecture} changes its logits .* {name}={setting[name]}"):
            use_encouraging_loss(model)
    uncapped = of(
        "Gemma2ForCausalLM",
        "Gemma2Config",
        **DECODER,
        head_dim=8,
        final_logit_softcapping=None,
        pad_token_id=0,
    )
    with use_encouraging_loss(uncapped):
        assert uncapped(**batch(uncapped.eval())).loss.isfinite()


class Softened(transformers.LlamaForCausalLM):
    """What its logits are changed by stands in no config."""

    def forward(self, *args, labels=None, **kwargs):
        outputs = super().forward(*args, **kwargs)
        loss = self.loss_function(outputs.logits / 2, labels, self.config.vocab_size)
        return type(outputs)(loss=loss, logits=outputs.logits)


def test_changed_logits_that_no_setting_names():
    model = Softened(made("Llama").config).train()
    inputs = {name: torch.ones(1, 3, dtype=torch.long) for name in ("input_ids", "labels")}
    with (
        use_encouraging_loss(model),
        pytest.raises(ValueError, match="Softened changes its logits after the"),
    ):
        model(**inputs)


class Shrunk(nn.Module):
    """A head with another matrix, as quantisation makes it."""

    weight = torch.zeros(VOCABULARY, 16, dtype=torch.int8)


def test_heads():
    for head, message in (
        (None, "LlamaForCausalLM has no known head"),
        (Shrunk(), r"head must be a plain torch.nn.Linear, got \S+Shrunk"),
    ):
        model = made("Llama")
        model.lm_head = head
        with pytest.raises(ValueError, match=message):
            use_encouraging_loss(model)
    model = made("Llama")
    quantised = torch.zeros(VOCABULARY, 16, dtype=torch.int8)
    model.lm_head.weight = nn.Parameter(quantised, requires_grad=False)
    with pytest.raises(ValueError, match=r"floating torch.Tensor as weight, got Parameter of torch.int8"):
        use_encouraging_loss(model)
    model = made("Llama")
    model.lm_head.forward = model.lm_head.forward
    with pytest.raises(
        ValueError, match=r"head has its forward replaced already, by torch.nn.modules.linear"
    ):
        use_encouraging_loss(model)


def test_adapters_on_the_head():
    peft = pytest.importorskip("peft")
    for settings in (
        {"target_modules": ["lm_head"]},
        {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]},
    ):
        adapted = peft.get_peft_model(made("Llama"), peft.LoraConfig(**settings))
        with pytest.raises(ValueError, match=r"plain torch.nn.Linear, got peft\.\S+: leave it out of PEFT's"):
            use_encouraging_loss(adapted)
        model = made("Llama")
        inputs = batch(model)
        with use_encouraging_loss(model):  # and where they come later
            adapted = peft.get_peft_model(model, peft.LoraConfig(**settings)).train()
            with pytest.raises((ValueError, RuntimeError), match=r"after the head|did not call the head"):
                adapted(**inputs)


def test_models_of_another_kind():
    with pytest.raises(ValueError, match=r"language model of transformers, got Linear$"):
        use_encouraging_loss(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="got DataParallel: attach the loss before wrapping it"):
        use_encouraging_loss(nn.DataParallel(made("Llama")))
    bert = of("BertForMaskedLM", "BertConfig", **SIZES)
    with pytest.raises(
        ValueError,
        match="ForCausalLMLoss, which this one replaces; it has ForMaskedLMLoss: train it by Trainer",
    ):
        use_encouraging_loss(bert)
    bart = of("BartForCausalLM", "BartConfig", **BOTH)
    with pytest.raises(ValueError, match="BartForCausalLM computes its loss without its loss_function"):
        use_encouraging_loss(bart)
    classifier = of("BartForSequenceClassification", "BartConfig", **BOTH, eos_token_id=2)
    with pytest.raises(ValueError, match="BartForSequenceClassification is no sequence-to-sequence model"):
        use_encouraging_loss(classifier)
    attached = use_encouraging_loss(made("Llama"))
    with pytest.raises(ValueError, match="has encouraging loss already"):
        use_encouraging_loss(attached.model)


def test_options():
    with pytest.raises(ValueError, match="reduction must be left out, got sum"):
        use_encouraging_loss(made("Llama"), reduction="sum")
    with pytest.raises(ValueError, match="log_end"):
        use_encouraging_loss(made("Llama"), log_end=2.0)


def test_routers_of_sequence_to_sequence_models():
    switch = of(
        "SwitchTransformersForConditionalGeneration",
        "SwitchTransformersConfig",
        **{"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
        num_experts=2,
        output_router_logits=True,
    )
    refusal = "SwitchTransformersForConditionalGeneration adds a loss of its routers"
    with pytest.raises(ValueError, match=refusal):
        use_encouraging_loss(switch)
    switch.config.output_router_logits = False
    inputs = {
        name: torch.ones(1, 3, dtype=torch.long) for name in ("input_ids", "labels", "decoder_input_ids")
    }
    with use_encouraging_loss(switch):
        assert switch(**inputs).loss.isfinite()
        with pytest.raises(ValueError, match=refusal):
            switch(**inputs, output_router_logits=True)
        switch.config.output_router_logits = True
        with pytest.raises(ValueError, match=refusal):
            switch(**inputs)


def test_labels_that_do_not_arrive():
    model = made("Llama")
    inputs = batch(model)
    labels = inputs.pop("labels")
    with use_encouraging_loss(model):
        with pytest.raises(ValueError, match="in training the model must get labels"):
            model(**inputs)
        with pytest.raises(ValueError, match="labels must be given by name"):
            model(inputs["input_ids"], None, None, None, None, labels)
        for mode in (True, False):  # some of the logits could be cut into as many rows as there are targets
            with pytest.raises(ValueError, match=r"a target for each of the head's \d+ positions"):
                model.train(mode)(**inputs, labels=labels, logits_to_keep=1)
        model.train()
        with torch.no_grad():
            assert model(**inputs).logits.shape[-1] == VOCABULARY
        with pytest.raises(RuntimeError, match="would be ignored"):
            model.model(**inputs)
    model.model(**inputs)


def with_liger(_, folder):
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    model = made("Llama")
    with use_encouraging_loss(model):
        arguments = transformers.TrainingArguments(
            output_dir=folder, use_liger_kernel=True, report_to="none", use_cpu=True, max_steps=1
        )
        data = [{"input_ids": [3, 4, 5], "labels": [3, 4, 5]}] * 8
        trainer = transformers.Trainer(model, arguments, train_dataset=data)
        with pytest.raises(RuntimeError, match=r"would be ignored: .* by liger_kernel\.\S+lce_forward"):
            trainer.train()
    before = made("Llama")
    apply_liger_kernel_to_llama(model=before)
    with pytest.raises(ValueError, match=r"has Liger's loss already \(liger_kernel\.\S+\): load the model"):
        use_encouraging_loss(before)


def test_liger(tmp_path):
    pytest.importorskip("liger_kernel")
    mp.spawn(with_liger, args=(tmp_path,))  # in a process of its own, whose classes Liger replaces
