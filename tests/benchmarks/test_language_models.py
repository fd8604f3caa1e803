"""The peers of a language model's step compute the same two losses."""

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("trl")

from benchmarks import language_models


def test_peers_agree(monkeypatch):
    monkeypatch.setattr(language_models, "VOCABULARY", 50)
    gradients = {}
    for name, (prepare, loss) in language_models.PEERS.items():
        torch.manual_seed(0)
        sizes = {**language_models.SIZES, "num_hidden_layers": 1}
        config = language_models.LlamaConfig(vocab_size=50, **sizes)
        model = language_models.LlamaForCausalLM(config).train()
        if prepare is not None:
            prepare(model)
        loss(model, torch.randint(50, (2, 9))).backward()
        gradients[name] = {key: value.grad for key, value in model.named_parameters()}
    one, two, three, four = gradients.values()
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(three, four, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(one["lm_head.weight"], three["lm_head.weight"], rtol=1e-2)
