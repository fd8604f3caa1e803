"""Train a classifier with encouraging loss in Hugging Face's Trainer, on scikit-learn's digits.

    pip install '.[examples]'
    python examples/huggingface_classification.py

``compute_loss_func`` is the whole change. The Trainer leaves the division to it: ``num_items_in_batch`` is
the number of labels in all the batches whose gradients are accumulated, so that each label weighs the same.
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification
from transformers.modeling_outputs import ModelOutput

from el_plugins.losses import encouraging_loss


def compute_loss(outputs: ModelOutput, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
    """The mean over the accumulated batches of (N, 10) logits against (N) labels."""
    options = {"label_smoothing": 0.1, "log_end": 0.75}
    if num_items_in_batch is None:  # in evaluation
        return encouraging_loss(outputs.logits, labels, **options)
    return encouraging_loss(outputs.logits, labels, reduction="sum", **options) / num_items_in_batch


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """The share of digits that are recognised."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def main() -> None:
    """Train a small vision transformer from scratch and print what evaluation gives."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images / 16).float().view(-1, 1, 8, 8)
    digits = [{"pixel_values": image, "labels": int(label)} for image, label in zip(pixels, labels)]
    train, test = train_test_split(digits, test_size=0.2, random_state=0)

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=10,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=4,
            per_device_train_batch_size=32,
            gradient_accumulation_steps=2,
            per_device_eval_batch_size=len(test),
            learning_rate=1e-2,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            ViTForImageClassification(config),
            arguments,
            train_dataset=train,
            eval_dataset=test,
            compute_loss_func=compute_loss,
            compute_metrics=accuracy,
        )
        before = trainer.evaluate()
        trainer.train()
        after = trainer.evaluate()
    print(f"loss {before['eval_loss']:.3f}, then {after['eval_loss']:.3f}")
    print(f"test accuracy {after['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main()
