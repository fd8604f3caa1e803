"""Data and settings of a trainer, and what it is to log, worked out from whole logits."""

import torch

from tests.integrations.transformers.language_models import batch, formula, rows_and_targets, transformers


def examples(model, count=8):
    """Of unequal length: labels of -100 come with them."""
    inputs = batch(model, rows=count, length=9)
    inputs["labels"][1, 3:] = inputs["labels"][5, 1:] = -100
    inputs.pop("decoder_input_ids", None)
    return [{name: value[i] for name, value in inputs.items()} for i in range(count)]


def as_batch(data):
    return {name: torch.stack([example[name] for example in data]) for name in data[0]}


def arguments(folder, kind=transformers.TrainingArguments, **settings):
    return kind(
        **{
            "output_dir": str(folder),
            "max_steps": 1,
            "optim": "sgd",
            "learning_rate": 1.0,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            **settings,
        }
    )


def expected_of(model, data):
    """Mean loss over all labels, and nll and the share of well-classified ones."""
    inputs = as_batch(data)
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(inputs["labels"])
    rows, targets = rows_and_targets(model, inputs)
    valid = targets != -100
    log_p = rows[valid].log_softmax(1).gather(1, targets[valid].unsqueeze(1))
    share = (log_p.exp() > 0.5).double().mean().item()
    return formula(rows, targets, 0.5) / valid.sum(), -log_p.mean().item(), share
