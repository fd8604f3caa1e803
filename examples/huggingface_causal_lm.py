"""Train a small Llama on Python's own documentation, with cross-entropy and with encouraging loss.

    pip install '.[integrations]'
    python examples/huggingface_causal_lm.py

``use_encouraging_loss`` is the whole change; ``bonus="none"`` is cross-entropy by the same way. The text is
what ``help("topics")`` shows, in bytes. To fine-tune a model of your own, put
``AutoModelForCausalLM.from_pretrained`` and its tokenizer in the place of ``small_llama`` and
``ByT5Tokenizer``.
"""

from __future__ import annotations

import tempfile
from pydoc_data.topics import topics

import torch
from transformers import ByT5Tokenizer, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from el_plugins.integrations.transformers import use_encouraging_loss

LOSSES = {"cross-entropy": {"bonus": "none"}, "encouraging loss": {"log_end": 0.5}}
LENGTH = 64


def small_llama() -> LlamaForCausalLM:
    """A Llama of 0.1 million parameters over bytes, its weights random."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=384, max_position_embeddings=LENGTH, **sizes))


def blocks(tokenizer: ByT5Tokenizer) -> list[dict[str, list[int]]]:
    """The text in blocks of LENGTH bytes."""
    text = "\n".join(topics[name] for name in sorted(topics))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    cut = [ids[i : i + LENGTH] for i in range(0, len(ids) - LENGTH, LENGTH)]
    return [{"input_ids": block, "labels": block} for block in cut]


def main() -> None:
    """Train with each loss, and print what it gives on the last blocks, which are held out."""
    data = blocks(ByT5Tokenizer())
    for name, options in LOSSES.items():
        model = small_llama()
        with use_encouraging_loss(model, **options) as attached, tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=60,
                per_device_train_batch_size=32,
                per_device_eval_batch_size=50,
                learning_rate=1e-2,
                lr_scheduler_type="cosine",
                warmup_steps=10,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            trainer = Trainer(model, arguments, train_dataset=data[:-200], eval_dataset=data[-200:])
            attached.log_in(trainer)
            before = trainer.evaluate()["eval_loss"]
            trainer.train()
            after = trainer.evaluate()
        print(
            f"{name}: loss {before:.3f}, then {after['eval_loss']:.3f}; "
            f"nll {after['eval_nll']:.3f}, well classified {after['eval_well_classified']:.1%}"
        )


if __name__ == "__main__":
    main()
