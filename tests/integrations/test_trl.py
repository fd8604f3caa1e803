"""TRL's trainer with the loss: what it logs against the reference; the plain SFTTrainer is refused."""

import pytest
import torch

pytest.importorskip("trl")

from trl import SFTConfig, SFTTrainer

from el_plugins.integrations.transformers import use_encouraging_loss
from el_plugins.integrations.trl import EncouragingSFTTrainer
from tests.integrations.transformers.language_models import made, transformers
from tests.integrations.transformers.training import examples, expected_of


def settings(folder, **options):
    return SFTConfig(
        **{
            "output_dir": str(folder),
            "max_steps": 3,
            "learning_rate": 0.01,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            **options,
        }
    )


@pytest.fixture
def tokenizer():
    return transformers.ByT5Tokenizer()


def dataset(data):
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_list([{name: value.tolist() for name, value in row.items()} for row in data])


def test_the_logged_loss_is_the_reference(tmp_path, tokenizer):
    model = made("Llama")
    data = examples(model)
    loss, nll, share = expected_of(model, data)
    trainer = EncouragingSFTTrainer(
        model,
        settings(tmp_path),
        train_dataset=dataset(data),
        eval_dataset=dataset(data),
        processing_class=tokenizer,
        loss_options={"log_end": 0.5},
    )
    trainer.train()
    first, *_, last = [log for log in trainer.state.log_history if "loss" in log]
    assert first["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert first["nll"] == pytest.approx(nll, rel=1e-5)
    assert first["well_classified"] == pytest.approx(share)
    assert last["loss"] < first["loss"]
    metrics = trainer.evaluate()
    loss, nll, _ = expected_of(made("Llama"), data)[0], *expected_of(trainer.model.eval(), data)[1:]
    assert metrics["eval_nll"] == pytest.approx(nll, rel=1e-5)
    trainer.attached.remove()
    assert torch.is_tensor(trainer.model.train()(input_ids=data[0]["input_ids"][None]).logits)


def test_other_losses_are_refused(tmp_path, tokenizer):
    data = dataset(examples(made("Llama")))
    for name, value in (("loss_type", "dft"), ("label_smoothing_factor", 0.1), ("use_liger_kernel", True)):
        with pytest.raises(ValueError, match=f"{name} must be .* with encouraging loss, got {value!r}"):
            EncouragingSFTTrainer(
                made("Llama"),
                settings(tmp_path, **{name: value}),
                train_dataset=data,
                processing_class=tokenizer,
            )


def test_the_plain_trainer_is_refused(tmp_path, tokenizer):
    data = dataset(examples(made("Llama")))
    model = made("Llama")
    trainer = SFTTrainer(model, settings(tmp_path), train_dataset=data, processing_class=tokenizer)
    with use_encouraging_loss(model), pytest.raises(ValueError, match=r"use el_plugins\.integrations\.trl"):
        trainer.train()
    model = made("Llama")
    with use_encouraging_loss(model):
        trainer = SFTTrainer(model, settings(tmp_path), train_dataset=data, processing_class=tokenizer)
        with pytest.raises(RuntimeError, match=r"would be ignored: .* by "):
            trainer.train()


@pytest.mark.parametrize("coefficient", [None, 0.3, 0.0])
def test_losses_of_routers_weigh_as_in_trl(tmp_path, tokenizer, coefficient):
    data = dataset(examples(made("Mixtral")))
    logged = []
    for kind, options in ((SFTTrainer, {}), (EncouragingSFTTrainer, {"loss_options": {"bonus": "none"}})):
        trainer = kind(
            made("Mixtral"),
            settings(tmp_path, max_steps=1, router_aux_loss_coef=coefficient),
            train_dataset=data,
            processing_class=tokenizer,
            **options,
        )
        trainer.train()
        logged.append(trainer.state.log_history[0]["loss"])
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)
