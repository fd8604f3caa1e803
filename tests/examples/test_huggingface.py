"""Accumulated gradients of the Trainer, with batches of unequal length, against those of the whole batch."""

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import ByT5Tokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

from examples.huggingface_seq2seq import compute_loss, dates, tiny_model


def gradients_of_one_update(examples, folder, batch_size):
    """Of each parameter, from what the Trainer's one step of SGD with learning rate 1 takes off it."""
    model = tiny_model(dropout=0.0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=1,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=len(examples) // batch_size,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    collator = DataCollatorForSeq2Seq(ByT5Tokenizer(), model)
    Trainer(
        model, arguments, train_dataset=examples, data_collator=collator, compute_loss_func=compute_loss
    ).train()
    return {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path):
    examples = dates(ByT5Tokenizer(), 8)
    assert len({len(example["labels"]) for example in examples}) > 3
    model = tiny_model(dropout=0.0)
    batch = DataCollatorForSeq2Seq(ByT5Tokenizer(), model)(examples, return_tensors="pt")
    labels = batch.pop("labels")
    assert (labels == -100).any()
    compute_loss(model(**batch), labels).backward()
    whole = {name: parameter.grad for name, parameter in model.named_parameters()}
    for batch_size in (8, 2, 1):
        accumulated = gradients_of_one_update(examples, tmp_path, batch_size)
        torch.testing.assert_close(accumulated, whole, rtol=1e-4, atol=1e-6)
