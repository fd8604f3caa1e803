"""Trainer and Seq2SeqTrainer with the loss in the model: updates, logs, and what would leave it out."""

import copy

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from el_plugins.integrations.transformers import use_encouraging_loss
from tests.integrations.transformers.language_models import (
    VOCABULARY,
    gradients,
    made,
    transformers,
)
from tests.integrations.transformers.training import arguments, as_batch, examples, expected_of


@pytest.mark.parametrize("name", ["Llama", "Marian"])
def test_accumulated_updates_and_logs_are_those_of_the_whole_batch(name, tmp_path):
    model = made(name)
    data = examples(model)
    loss, nll, share = expected_of(model, data)
    wanted = {key: gradient for key, gradient in gradients(loss, model).items() if gradient is not None}
    for batch_size in (8, 2):
        trained = copy.deepcopy(model)
        kind = ("", "Seq2Seq")[model.config.is_encoder_decoder]
        settings = arguments(
            tmp_path,
            getattr(transformers, f"{kind}TrainingArguments"),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=len(data) // batch_size,
        )
        with use_encouraging_loss(trained, log_end=0.5) as attached:
            trainer = getattr(transformers, f"{kind}Trainer")(trained, settings, train_dataset=data)
            attached.log_in(trainer)
            trainer.train()
        log = trainer.state.log_history[0]
        assert log["loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert log["nll"] == pytest.approx(nll, rel=1e-5)
        assert log["well_classified"] == pytest.approx(share)
        before, after = dict(model.named_parameters()), dict(trained.named_parameters())
        moved = {key: (before[key] - after[key]).detach() for key in wanted}
        torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-5)


def test_what_would_log_or_keep_the_wrong_model_is_refused(tmp_path):
    model = made("Llama")
    data = examples(model)
    best = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True}
    settings = arguments(tmp_path, metric_for_best_model="eval_nll", **best)
    with use_encouraging_loss(model) as attached:
        trainer = transformers.Trainer(model, settings, train_dataset=data, eval_dataset=data)
        with pytest.raises(ValueError, match=r"greater_is_better must be False for .*='eval_nll'"):
            attached.log_in(trainer)
        trainer.args.greater_is_better = False
        attached.log_in(trainer)
        trainer.train()
        assert trainer.state.best_metric == trainer.state.log_history[1]["eval_nll"]
    made_anew = transformers.Trainer(model_init=lambda: made("Llama"), args=arguments(tmp_path))
    with pytest.raises(ValueError, match="trainer must have no model_init"):
        use_encouraging_loss(made_anew.model).log_in(made_anew)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_without_targets_changes_nothing(tmp_path, accumulation):
    # Prompts that were truncated, say: every label is -100.
    model = made("Llama")
    data = examples(model)
    for example in data:
        example["labels"][:] = -100
    settings = arguments(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=accumulation)
    trained = copy.deepcopy(model)
    with use_encouraging_loss(trained, log_end=0.5):
        trainer = transformers.Trainer(trained, settings, train_dataset=data)
        trainer.train()
    assert trainer.state.log_history[0]["loss"] == 0
    for before, after in zip(model.parameters(), trained.parameters()):
        assert torch.equal(before, after)


def test_evaluation_and_generation(tmp_path):
    model = made("Marian")
    data = examples(model)
    settings = arguments(tmp_path, transformers.Seq2SeqTrainingArguments, predict_with_generate=True)
    seen = []
    with use_encouraging_loss(model, log_end=0.5) as attached:
        trainer = transformers.Seq2SeqTrainer(
            model,
            settings,
            eval_dataset=data,
            compute_metrics=lambda prediction: seen.append(prediction) or {},
        )
        attached.log_in(trainer)
        metrics = trainer.evaluate()
        predicted = trainer.predict(data).metrics
    loss, nll, share = expected_of(model.eval(), data)
    for prefix, measured in (("eval", metrics), ("test", predicted)):
        assert measured[f"{prefix}_nll"] == pytest.approx(nll, rel=1e-5)
        assert measured[f"{prefix}_well_classified"] == pytest.approx(share)
        assert measured[f"{prefix}_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert len(seen[0].predictions) == len(data)


def test_a_causal_model_gives_its_logits_to_compute_metrics(tmp_path):
    model = made("Llama")
    data = examples(model)
    shapes = []
    with use_encouraging_loss(model):
        transformers.Trainer(
            model,
            arguments(tmp_path),
            eval_dataset=data,
            compute_metrics=lambda prediction: shapes.append(prediction.predictions.shape) or {},
        ).evaluate()
    assert shapes == [(len(data), 9, VOCABULARY)]


def test_what_takes_the_labels_out_is_refused(tmp_path):
    model = made("Llama")
    data = examples(model)
    with use_encouraging_loss(model):
        for settings, options in (
            ({"label_smoothing_factor": 0.1}, {}),
            (
                {},
                {"compute_loss_func": lambda outputs, labels, num_items_in_batch=None: outputs.logits.sum()},
            ),
        ):
            trainer = transformers.Trainer(
                model, arguments(tmp_path, **settings), train_dataset=data, **options
            )
            with pytest.raises(ValueError, match="in training the model must get labels"):
                trainer.train()


def test_mixed_precision_and_adapters(tmp_path):
    peft = pytest.importorskip("peft")
    model = made("Llama")
    data = examples(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"]))
    with use_encouraging_loss(adapted, log_end=0.5) as attached:
        settings = arguments(tmp_path, bf16=True, max_steps=2, learning_rate=0.1)
        trainer = transformers.Trainer(adapted, settings, train_dataset=data)
        attached.log_in(trainer)
        trainer.train()
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        assert adapted.train()(**as_batch(data)).logits is None
    assert adapted(**as_batch(data)).logits is not None
    assert {name for name, value in adapted.named_parameters() if value.grad is not None} <= {
        name for name, value in adapted.named_parameters() if "lora" in name
    }
    logs = trainer.state.log_history
    assert logs[0]["loss"] == pytest.approx(expected_of(made("Llama"), data)[0].item(), rel=2e-2)
    assert logs[1]["nll"] < logs[0]["nll"]
