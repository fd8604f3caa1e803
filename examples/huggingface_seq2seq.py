"""Train an encoder-decoder with encouraging loss in Hugging Face's Trainer: 2031-05-17 becomes 17 May 2031.

    pip install '.[examples]'
    python examples/huggingface_seq2seq.py

``compute_loss_func`` is the whole change. Padding, -100, does not count, and the Trainer leaves the division
to it: ``num_items_in_batch`` is the number of tokens in all the batches whose gradients are accumulated, so
that each token weighs the same. The collator needs the model: the Trainer takes the labels out of the model's
input, and the collator makes the decoder's input of them. A decoder alone predicts the next token: there,
compare ``logits[:, :-1]`` with ``labels[:, 1:]``.
"""

from __future__ import annotations

import tempfile
from datetime import date, timedelta

import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    ByT5Tokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)
from transformers.modeling_outputs import ModelOutput

from el_plugins.losses import encouraging_loss


def compute_loss(outputs: ModelOutput, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
    """The mean over the accumulated batches of (N, T, V) logits against (N, T) tokens, -100 for padding."""
    logits = outputs.logits.transpose(1, 2)  # torch's layout: the classes are the second dimension
    options = {"label_smoothing": 0.1, "log_end": 0.5}
    if num_items_in_batch is None:  # in evaluation
        return encouraging_loss(logits, labels, **options)
    return encouraging_loss(logits, labels, reduction="sum", **options) / num_items_in_batch


def tiny_model(dropout: float = 0.1) -> BartForConditionalGeneration:
    """A small BART over bytes, its weights random."""
    torch.manual_seed(0)
    encoder = {"encoder_layers": 2, "encoder_ffn_dim": 128, "encoder_attention_heads": 4}
    decoder = {"decoder_layers": 2, "decoder_ffn_dim": 128, "decoder_attention_heads": 4}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 0}
    sizes = {"vocab_size": 384, "d_model": 64, "max_position_embeddings": 64, "init_std": 0.1}
    return BartForConditionalGeneration(BartConfig(dropout=dropout, **sizes, **encoder, **decoder, **tokens))


def dates(tokenizer: ByT5Tokenizer, count: int) -> list[dict[str, list[int]]]:
    """``count`` dates as numbers, and in words."""
    days = [date(2000, 1, 1) + timedelta(days=37 * number) for number in range(count)]
    return [tokenizer(day.isoformat(), text_target=f"{day:%d %B %Y}") for day in days]


def main() -> None:
    """Train and print the loss before and after, and a translation."""
    tokenizer = ByT5Tokenizer()
    model = tiny_model(dropout=0.0)
    examples = dates(tokenizer, 900)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=80,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=2,
            per_device_eval_batch_size=100,
            learning_rate=3e-3,
            lr_scheduler_type="constant",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=examples[:800],
            eval_dataset=examples[800:],
            data_collator=DataCollatorForSeq2Seq(tokenizer, model),
            compute_loss_func=compute_loss,
        )
        losses = [trainer.evaluate()["eval_loss"]]
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    print(f"loss {losses[0]:.3f}, then {losses[1]:.3f}")
    output = model.generate(**tokenizer("2031-05-17", return_tensors="pt"), max_new_tokens=20)
    print("2031-05-17:", tokenizer.decode(output[0], skip_special_tokens=True))


if __name__ == "__main__":
    main()
