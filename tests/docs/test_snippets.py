"""Every Python snippet of the README and the documentation runs, those of a page one after the other."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from tests.pages import blocks

SNIPPETS = blocks("python")
PAGES = sorted({(block.page, block.note) for block in SNIPPETS})


def given_names(note, folder):
    """What the snippets take for granted."""
    torch.manual_seed(0)
    model = nn.Linear(3, 5)
    target = torch.tensor([0, 1, 4, 2])
    given = {
        "logits": torch.randn(4, 5, requires_grad=True),
        "target": target,
        "labels": torch.eye(5)[target],
        "hidden": torch.randn(4, 8, requires_grad=True),
        "output_matrix": torch.randn(5, 8),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": [(torch.randn(4, 3), target)],
        "data": [{"input": torch.randn(3), "labels": 1}],
    }
    if note == "needs: detectron2":
        from detectron2.config import get_cfg

        given["cfg"] = get_cfg()
    if note in ("needs: transformers", "needs: trl"):
        from transformers import ByT5Tokenizer, LlamaConfig, LlamaForCausalLM, TrainingArguments

        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
        given["arguments"] = TrainingArguments(folder, use_cpu=True, report_to="none")
        given["language_model"] = LlamaForCausalLM(LlamaConfig(vocab_size=384, **sizes))
        given["token_data"] = [{"input_ids": [3, 4, 5], "labels": [3, 4, 5]}]
        given["tokenizer"] = ByT5Tokenizer()
    if note == "needs: trl":
        from datasets import Dataset
        from trl import SFTConfig

        given["sft_arguments"] = SFTConfig(folder, use_cpu=True, bf16=False, report_to="none")
        given["token_dataset"] = Dataset.from_list(given["token_data"])
    return given


@pytest.mark.parametrize(("page", "note"), PAGES)
def test_snippets(page, note, tmp_path):
    if note and not find_spec(note.removeprefix("needs: ")):
        pytest.skip(note)
    given = given_names(note, tmp_path)
    for block in SNIPPETS:
        if block.page == page and block.note in ("", note):
            exec(compile("\n" * block.line + block.text, page, "exec"), given)
    if "loss" in given:
        assert given["loss"].isfinite().all()
