"""Loss and every gradient of each model against its whole logits, and against the model's own loss."""

import copy

import pytest
import torch

pytest.importorskip("transformers")

from el_plugins.integrations.transformers import use_encouraging_loss
from tests.integrations.transformers.language_models import (
    MODELS,
    VOCABULARY,
    batch,
    formula,
    gradients,
    made,
    rows_and_targets,
)

# The grouped products of Mixtral's experts are not there in float64.
CASES = [(name, dtype) for name in MODELS for dtype in (torch.float64, torch.float32)]
CASES.remove(("Mixtral", torch.float64))
ITEMS = 13  # some other count than the batch's own, as in gradient accumulation


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=[f"{name}-{dtype}" for name, dtype in CASES])
def test_loss_and_gradients_are_those_of_whole_logits(name, dtype):
    model = made(name, **({"output_router_logits": False} if name == "Mixtral" else {})).to(dtype)
    inputs = batch(model)
    double = dtype == torch.float64
    bound = {"rtol": 1e-12, "atol": 1e-12} if double else {"rtol": 1e-4, "atol": 1e-5}
    rows, targets = rows_and_targets(model, inputs)
    p = rows.detach().softmax(1).gather(1, targets.clamp(min=0).unsqueeze(1))
    assert ((p > 0.5) & (targets != -100).unsqueeze(1)).any()  # where the bonus is its tangent
    assert ((p < 0.5) & (targets != -100).unsqueeze(1)).any()
    for items in (None, torch.tensor(ITEMS), ITEMS):
        rows, targets = rows_and_targets(model, inputs)
        count = (targets != -100).sum() if items is None else ITEMS
        expected = formula(rows, targets, 0.5, epsilon=0.1) / count
        wanted = gradients(expected, model)
        with use_encouraging_loss(model, log_end=0.5, label_smoothing=0.1):
            outputs = model(**inputs, num_items_in_batch=items)
            assert outputs.logits is None
            torch.testing.assert_close(outputs.loss, expected, **bound)
            torch.testing.assert_close(gradients(outputs.loss, model), wanted, **bound)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_bonus_it_is_the_models_own_loss(name):
    model = made(name)
    labels = {**batch(model)}
    labels.pop("decoder_input_ids", None)
    expected = model(**labels).loss
    wanted = gradients(expected, model)
    with use_encouraging_loss(model, bonus="none"):
        outputs = model(**labels)
        torch.testing.assert_close(outputs.loss, expected)
        torch.testing.assert_close(gradients(outputs.loss, model), wanted, rtol=1e-4, atol=1e-6)
    own = model(**labels)
    assert torch.equal(own.loss, expected)
    assert own.logits.shape[-1] == VOCABULARY


@pytest.mark.parametrize("name", ["Llama", "Marian"])
def test_evaluation_has_whole_logits(name):
    model = made(name).eval()
    inputs = batch(model)
    with torch.no_grad():
        rows, targets = rows_and_targets(model, inputs)
        own = model(**inputs)
        with use_encouraging_loss(model, log_end=0.75) as attached:
            outputs = model(**inputs)
            as_tuple = model(**inputs, return_dict=False)
            generated = model.generate(inputs["input_ids"], max_new_tokens=3, do_sample=False)
        measured = attached.measured.take(in_training=False)
    assert torch.equal(outputs.logits, own.logits)
    assert torch.equal(as_tuple[0], outputs.loss)
    assert torch.equal(as_tuple[1], own.logits)
    torch.testing.assert_close(outputs.loss, formula(rows, targets, 0.75) / (targets != -100).sum())
    assert torch.equal(generated, model.generate(inputs["input_ids"], max_new_tokens=3, do_sample=False))
    valid = targets != -100
    log_p = rows.log_softmax(1)[valid].gather(1, targets[valid].unsqueeze(1))
    assert measured["nll"] == pytest.approx(-log_p.mean().item(), rel=1e-5)
    assert measured["well_classified"] == pytest.approx((log_p.exp() > 0.5).double().mean().item())
    assert attached.measured.take(in_training=False) == {}


@pytest.mark.parametrize("name", ["Llama", "Marian"])
def test_compiled(name):
    model = made(name, num_hidden_layers=1)
    inputs = batch(model)
    rows, targets = rows_and_targets(model, inputs)
    expected = formula(rows, targets, 0.5) / (targets != -100).sum()
    wanted = gradients(expected, model)
    with use_encouraging_loss(model) as attached:
        outputs = torch.compile(model, backend="eager", fullgraph=True)(**inputs)
        assert outputs.logits is None
        assert attached.measured.take(in_training=True)["nll"] > 0
        torch.testing.assert_close(outputs.loss, expected)
        torch.testing.assert_close(gradients(outputs.loss, model), wanted, rtol=1e-4, atol=1e-6)


def test_gradient_checkpointing_and_bfloat16():
    model = made("Llama").bfloat16()
    inputs = batch(model)
    with use_encouraging_loss(model):
        plain = model(**inputs).loss
        wanted = gradients(plain, model)
        model.gradient_checkpointing_enable()
        outputs = model(**inputs)
        assert outputs.loss.dtype == torch.float32
        assert torch.equal(outputs.loss, plain)
        torch.testing.assert_close(gradients(outputs.loss, model), wanted)


def test_shift_labels_are_taken_as_they_are():
    model = made("Llama")
    inputs = batch(model)
    shifted = inputs["labels"].roll(-1, dims=1)
    shifted[:, -1] = -100
    with use_encouraging_loss(model):
        expected = model(**inputs).loss
        wrong = torch.zeros_like(inputs["labels"])
        assert torch.equal(model(**{**inputs, "labels": wrong}, shift_labels=shifted).loss, expected)


def test_a_copy_has_its_own_weights():
    model = made("GPT-2")
    inputs = batch(model)
    with use_encouraging_loss(model):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(0.5)
        rows, targets = rows_and_targets(copy.deepcopy(other).eval(), inputs)
        expected = formula(rows, targets, 0.5) / (targets != -100).sum()
        torch.testing.assert_close(other(**inputs).loss, expected)
        assert not torch.equal(model(**inputs).loss, expected)
