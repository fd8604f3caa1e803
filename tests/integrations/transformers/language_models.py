"""Small language models with random weights, a batch for each, and the loss from their whole logits."""

import pytest
import torch
import torch.nn.functional as F

transformers = pytest.importorskip("transformers")

VOCABULARY = 61
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
DECODER = {**SIZES, "num_key_value_heads": 1, "max_position_embeddings": 32}
BOTH = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "max_position_embeddings": 32,
    **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0),
    **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in
       {"layers": 1, "ffn_dim": 32, "attention_heads": 2, "layerdrop": 0.0}.items()},
}  # fmt: skip
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
BERT = {"is_decoder": True, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
EXPERTS = {"num_local_experts": 4, "output_router_logits": True, "router_aux_loss_coef": 0.5}

# Name: class and settings; what the model adds to the plain case.
MODELS = {
    "Llama": ("LlamaForCausalLM", DECODER),
    "Qwen3": ("Qwen3ForCausalLM", {**DECODER, "head_dim": 8, "tie_word_embeddings": True}),
    "Mixtral": ("MixtralForCausalLM", {**DECODER, **EXPERTS}),  # a loss of its routers
    "GPT-2": ("GPT2LMHeadModel", {"vocab_size": VOCABULARY, **GPT2}),  # tied
    "BERT": ("BertLMHeadModel", {**SIZES, **BERT}),  # layers before the head, which has a bias
    "T5": ("T5ForConditionalGeneration", {"vocab_size": VOCABULARY, **T5}),  # hidden states scaled by d**-0.5
    "Marian": ("MarianMTModel", BOTH),  # final_logits_bias
    "M2M100": ("M2M100ForConditionalGeneration", BOTH),  # its own function makes decoder_input_ids
}
CONFIGS = {"GPT2LMHeadModel": "GPT2Config", "BertLMHeadModel": "BertConfig", "MarianMTModel": "MarianConfig"}


def made(name, **settings):
    """A model by its name in MODELS, in training, its weights large enough for sure predictions."""
    architecture, config = MODELS[name]
    config_name = CONFIGS.get(architecture, architecture.partition("For")[0] + "Config")
    torch.manual_seed(0)
    config = getattr(transformers, config_name)(**{**TOKENS, **config, **settings})
    model = getattr(transformers, architecture)(config)
    with torch.no_grad():
        model.get_output_embeddings().weight.normal_(std=2 if config.is_encoder_decoder else 1)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()
    return model.train()


def batch(model, *, rows=3, length=7):
    """Input with labels: of every two targets one is what the model predicts, some are left out."""
    torch.manual_seed(1)
    inputs = {"input_ids": torch.randint(3, VOCABULARY, (rows, length))}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.randint(3, VOCABULARY, (rows, length))
    with torch.no_grad():
        predicted = model(**inputs).logits.argmax(-1)
    if not model.config.is_encoder_decoder:
        predicted = predicted.roll(1, dims=1)  # position t is predicted at t - 1
    labels = torch.where(
        torch.rand(rows, length) < 0.5, predicted, torch.randint(3, VOCABULARY, predicted.shape)
    )
    labels[0, length // 2 :] = -100
    return {**inputs, "labels": labels}


def rows_and_targets(model, inputs):
    """Whole logits as (N, V), and the target of each row."""
    logits = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
    labels = inputs["labels"]
    if not model.config.is_encoder_decoder:
        logits, labels = logits[:, :-1], labels[:, 1:]
    return logits.reshape(-1, VOCABULARY), labels.reshape(-1)


def formula(rows, targets, log_end, epsilon=0.0):
    """Sum over the targets of Eq. 6 with its tangent from log_end on, by autograd."""
    rows, targets = rows[targets != -100], targets[targets != -100]
    log_p = rows.log_softmax(1)
    p = log_p.exp()
    near = (1 - p).clamp(min=1e-5).log()
    tangent = torch.tensor(1 - log_end, dtype=rows.dtype).log() - (p - log_end) / (1 - log_end)
    q = F.one_hot(targets, VOCABULARY).to(rows.dtype) * (1 - epsilon) + epsilon / VOCABULARY
    return (q * (torch.where(p <= log_end, near, tangent) - log_p)).sum()


def gradients(loss, model):
    """By name; each tied matrix once, and nothing for buffers."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}
