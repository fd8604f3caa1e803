"""Train a small Marian model to translate German dates, with cross-entropy and with encouraging loss.

    pip install '.[integrations]'
    python examples/huggingface_marian.py

17. Mai 2031 becomes May 17, 2031. ``use_encouraging_loss`` is the whole change; ``bonus="none"`` is
cross-entropy by the same way. To fine-tune a model of your own, put ``MarianMTModel.from_pretrained`` and its
tokenizer in the place of ``small_marian`` and ``ByT5Tokenizer``.
"""

from __future__ import annotations

import random
import tempfile
from datetime import date, timedelta

import torch
from transformers import (
    ByT5Tokenizer,
    DataCollatorForSeq2Seq,
    EvalPrediction,
    MarianConfig,
    MarianMTModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from el_plugins.integrations.transformers import use_encouraging_loss

LOSSES = {"cross-entropy": {"bonus": "none"}, "encouraging loss": {"log_end": 0.5}}
MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()


def dates(tokenizer: ByT5Tokenizer, count: int) -> list[dict[str, list[int]]]:
    """``count`` dates of this century in German and in English, shuffled."""
    days = [date(2000, 1, 1) + timedelta(days=37 * number) for number in range(count)]
    random.Random(0).shuffle(days)
    german = [f"{day.day}. {MONTHS[day.month - 1]} {day.year}" for day in days]
    return [tokenizer(text, text_target=f"{day:%B} {day.day}, {day.year}") for text, day in zip(german, days)]


def small_marian() -> MarianMTModel:
    """A Marian model of 0.4 million parameters over bytes, its weights random."""
    torch.manual_seed(0)
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": None}
    sizes = {"vocab_size": 384, "d_model": 64, "max_position_embeddings": 64, "init_std": 0.1}
    scale = {"scale_embedding": True, "dropout": 0.0}
    return MarianMTModel(MarianConfig(**layers, **heads, **tokens, **sizes, **scale))


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """The share of dates that are translated without a fault."""
    labels = [[token for token in row if token > 1] for row in prediction.label_ids.tolist()]
    output = [[token for token in row if token > 1] for row in prediction.predictions.tolist()]
    return {"accuracy": sum(a == b for a, b in zip(labels, output)) / len(labels)}


def main() -> None:
    """Train with each loss, and print what it gives on dates that are held out."""
    tokenizer = ByT5Tokenizer()
    data = dates(tokenizer, 980)
    for name, options in LOSSES.items():
        model = small_marian()
        with use_encouraging_loss(model, **options) as attached, tempfile.TemporaryDirectory() as folder:
            arguments = Seq2SeqTrainingArguments(
                output_dir=folder,
                max_steps=220,
                per_device_train_batch_size=32,
                per_device_eval_batch_size=100,
                learning_rate=5e-3,
                lr_scheduler_type="cosine",
                warmup_steps=10,
                predict_with_generate=True,
                generation_max_length=24,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            trainer = Seq2SeqTrainer(
                model,
                arguments,
                train_dataset=data[100:],
                eval_dataset=data[:100],
                data_collator=DataCollatorForSeq2Seq(tokenizer, model),
                compute_metrics=accuracy,
            )
            attached.log_in(trainer)
            before = trainer.evaluate()["eval_loss"]
            trainer.train()
            after = trainer.evaluate()
        print(
            f"{name}: loss {before:.3f}, then {after['eval_loss']:.3f}; nll {after['eval_nll']:.3f}, "
            f"well classified {after['eval_well_classified']:.1%}, accuracy {after['eval_accuracy']:.3f}"
        )


if __name__ == "__main__":
    main()
