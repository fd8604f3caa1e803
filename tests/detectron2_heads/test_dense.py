"""RetinaNet and FCOS with halted focal loss beside detectron2's own, and their loss against the formula."""

import re

import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.export import TracingAdapter, scripting_with_instances
from detectron2.modeling import build_model
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.structures import Boxes
from detectron2.utils.analysis import FlopCountAnalysis, parameter_count
from fvcore.nn import sigmoid_focal_loss

from detectron2_heads import HaltedFocalFCOS, HaltedFocalRetinaNet
from el_plugins.losses.kernels import use
from tests.detectron2_heads.detectors import (
    assert_same_detections,
    assert_same_step,
    config,
    fcos,
    gradients,
    retinanet,
    sample,
    training_losses,
)
from tests.losses.oracle import halted_focal

HALTS = ("foreground", "both", "authors")


def pair(kind, **settings):
    """(stock, ours) with the same weights; ``settings`` are constructor arguments."""
    if kind == "fcos":
        return fcos(FCOS), fcos(HaltedFocalFCOS, **settings)
    keys = [word for name, value in settings.items() for word in (f"MODEL.RETINANET.{name.upper()}", value)]
    return retinanet("RetinaNet"), retinanet("HaltedFocalRetinaNet", *keys)


@pytest.mark.parametrize("kind", ["retinanet", "fcos"])
@pytest.mark.parametrize("counts", [(3, 2), (0, 4), (2,), (0, 0)])
def test_threshold_one_is_stock(kind, counts):
    stock, ours = pair(kind, halt_threshold=1.0)
    assert_same_step(ours, stock, sample(*counts, size=160), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["retinanet", "fcos"])
def test_weights_and_detections_are_stock(kind):
    stock, ours = pair(kind)
    keys = ours.load_state_dict(stock.state_dict(), strict=True)
    assert not keys.missing_keys
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert_same_detections(ours, stock, sample(1, 1))


def test_parameters_and_flops_are_stock():
    stock, ours = pair("retinanet")
    assert parameter_count(ours) == parameter_count(stock)
    batch = sample(1)
    counted = [FlopCountAnalysis(model.eval(), batch).total() for model in (ours, stock)]
    assert counted[0] == counted[1] > 0


def exported(model, batch):
    """Detections of the model scripted and of the model traced."""
    fields = {"pred_boxes": Boxes, "scores": torch.Tensor, "pred_classes": torch.Tensor}
    adapter = TracingAdapter(model, batch, lambda model, inputs: [x["instances"] for x in model(inputs)])
    with torch.no_grad():
        traced = torch.jit.trace(adapter, adapter.flattened_inputs)
        again = adapter.outputs_schema(traced(*adapter.flattened_inputs))
        return scripting_with_instances(model, fields)(batch)[0], again[0]


def test_scripted_and_traced_inference_is_stock():
    batch = [{"image": sample(1)[0]["image"]}]
    stock, ours = (exported(model.eval(), batch) for model in pair("retinanet"))
    for one, expected in zip(ours, stock):
        assert len(one.scores) > 0
        assert torch.equal(one.pred_boxes.tensor, expected.pred_boxes.tensor)
        assert torch.equal(one.scores, expected.scores)


def halting(**settings):
    model = HaltedFocalRetinaNet.__new__(HaltedFocalRetinaNet)
    defaults = {
        "focal_loss_alpha": 0.25,
        "focal_loss_gamma": 2.0,
        "halt": "foreground",
        "halt_threshold": 0.5,
    }
    model.__dict__.update({**defaults, **settings})
    return model


def head_outputs(dtype=torch.float64, classes=4, scale=4.0):
    """Logits of two levels, (2, 6, K) and (2, 3, K), and labels: ignored, background and objects."""
    torch.manual_seed(0)
    logits = [(scale * torch.randn(2, anchors, classes)).to(dtype).requires_grad_() for anchors in (6, 3)]
    labels = torch.tensor([[0, 1, -1, classes, 3, 2, classes, -1, 0], [classes] * 5 + [-1] * 2 + [3, 1]])
    return logits, labels


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_loss_is_the_sum_of_the_formula(halt, gamma):
    logits, labels = head_outputs()
    model = halting(focal_loss_gamma=gamma, halt=halt)
    expected = 0.0
    for level, level_labels in zip(logits, labels.split([6, 3], dim=1)):
        for row, label in zip(level.detach().reshape(-1, 4).tolist(), level_labels.flatten().tolist()):
            if label >= 0:
                expected += sum(
                    halted_focal(x, k == label, 0.25, gamma, halt, 0.5) for k, x in enumerate(row)
                )
    loss = model.classification_loss(logits, labels)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert logits[0].grad[0, 2].abs().sum() == 0  # ignored: exactly nothing
    with use("formula"):  # which allows the repeated backward of finite differences
        exact = torch.autograd.grad(model.classification_loss(logits, labels), logits)
        assert torch.autograd.gradcheck(lambda *levels: model.classification_loss(levels, labels), logits)
    torch.testing.assert_close([level.grad for level in logits], list(exact))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_threshold_one_is_fvcore_and_half_precision_is_computed_in_single(gamma):
    logits, labels = head_outputs(torch.bfloat16)
    model = halting(focal_loss_gamma=gamma, halt_threshold=1.0)
    loss = model.classification_loss(logits, labels)
    assert loss.dtype == torch.float32
    wide = torch.cat(logits, dim=1).float()[labels >= 0]
    target = torch.nn.functional.one_hot(labels[labels >= 0], 5)[:, :-1].float()
    expected = sigmoid_focal_loss(wide, target, 0.25, gamma, "sum")
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("gamma", [0.25, 0.5])
def test_small_gamma_has_finite_gradients_at_large_logits(halt, gamma):
    logits = [torch.tensor([[[200.0, -200.0, 0.0], [-200.0, 200.0, 60.0]]], requires_grad=True)]
    halting(focal_loss_gamma=gamma, halt=halt).classification_loss(logits, torch.tensor([[0, 3]])).backward()
    assert logits[0].grad.isfinite().all()


def test_two_backward_passes():
    model = retinanet()
    losses = training_losses(model, sample(2))
    losses["loss_cls"].backward(retain_graph=True)
    first = model.head.cls_score.weight.grad.clone()
    losses["loss_cls"].backward()
    assert torch.equal(model.head.cls_score.weight.grad, 2 * first)


def test_no_anchors_and_labels_above_background():
    empty = torch.zeros(2, 0, 4, requires_grad=True)
    loss = halting().classification_loss([empty], torch.zeros(2, 0, dtype=torch.long))
    assert loss.item() == 0
    with pytest.raises(ValueError, match="4 for background or negative for ignored, got 5"):
        halting().classification_loss([torch.zeros(1, 1, 4)], torch.tensor([[5]]))


has_half = pytest.mark.skipif(torch.__version__ < (2, 6), reason="this torch upsamples no float16 on CPUs")


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=has_half)])
def test_autocast(dtype):
    model = retinanet()
    with torch.autocast("cpu", dtype):
        losses = training_losses(model, sample(2, 0))
    assert losses["loss_cls"].dtype == torch.float32
    assert all(value.isfinite().all() for value in gradients(model, losses).values())
    wide = training_losses(retinanet(), sample(2, 0))
    torch.testing.assert_close(losses["loss_cls"], wide["loss_cls"], rtol=0.02, atol=0)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_non_finite_images(value):
    stock, ours = pair("retinanet")
    batch = sample(2)
    batch[0]["image"].fill_(value)
    assert not training_losses(ours, batch)["loss_cls"].isfinite()
    with torch.no_grad():
        detected, expected = (model.eval()(batch)[0]["instances"] for model in (ours, stock))
    assert len(detected) == len(expected)


def test_halting_rewards_confident_objects():
    stock, ours = pair("retinanet", halt_threshold=0.5)
    for model in (stock, ours):
        torch.nn.init.constant_(model.head.cls_score.bias, 3.0)
    batch = sample(3, 3)
    halted, plain = training_losses(ours, batch), training_losses(stock, batch)
    assert torch.equal(halted["loss_box_reg"], plain["loss_box_reg"])
    assert gradients(ours, halted).keys() == gradients(stock, plain).keys()
    assert not torch.equal(halted["loss_cls"], plain["loss_cls"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("HALT", "all", "halt (MODEL.RETINANET.HALT) must be one of foreground, both, authors, got 'all'"),
        (
            "HALT_THRESHOLD",
            0.0,
            "halt_threshold (MODEL.RETINANET.HALT_THRESHOLD) must be a finite number > 0",
        ),
        ("HALT_THRESHOLD", 1.5, "<= 1, got 1.5"),
        ("FOCAL_LOSS_GAMMA", -1.0, "focal_loss_gamma (MODEL.RETINANET.FOCAL_LOSS_GAMMA) must be a finite"),
        ("FOCAL_LOSS_ALPHA", 2.0, "focal_loss_alpha (MODEL.RETINANET.FOCAL_LOSS_ALPHA) must be a finite"),
    ],
)
def test_errors_name_key_value_and_range(key, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build_model(config("HaltedFocalRetinaNet", f"MODEL.RETINANET.{key}", value))
