"""Faster R-CNN's box predictor with encouraging loss beside detectron2's own."""

import re

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("detectron2")

from detectron2 import model_zoo
from detectron2.config import LazyCall, instantiate
from detectron2.export import scripting_with_instances
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from detectron2_heads import EncouragingFastRCNNOutputLayers, add_encouraging_config
from detectron2_heads.config import merge_options
from el_plugins.losses import encouraging_loss
from tests.detectron2_heads.detectors import sample, training_losses


def predictor(target, **arguments):
    torch.manual_seed(0)
    transform = Box2BoxTransform(weights=(10, 10, 5, 5))
    layers = LazyCall(target)(input_shape=ShapeSpec(channels=8), box2box_transform=transform, num_classes=3)
    layers.update(arguments)
    return instantiate(layers)


def proposals(classes):
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]]).repeat(len(classes), 1)
    instances = Instances((64, 64), proposal_boxes=Boxes(boxes), gt_boxes=Boxes(boxes + 2))
    instances.gt_classes = torch.tensor(classes, dtype=torch.long)
    return instances


def losses(layers, *classes):
    torch.manual_seed(1)
    features = torch.randn(sum(map(len, classes)), 8)
    predictions = layers(features)
    with EventStorage():
        return predictions, layers.losses(predictions, [proposals(image) for image in classes])


@pytest.mark.parametrize("log_end", [0.5, 0.75, 1.0])
def test_classification_is_encouraging_loss_and_the_rest_is_stock(log_end):
    stock, ours = predictor(FastRCNNOutputLayers), predictor(EncouragingFastRCNNOutputLayers, log_end=log_end)
    ours.load_state_dict(stock.state_dict(), strict=True)
    (scores, _), own = losses(ours, [0, 3, 1], [2, 3])
    _, expected = losses(stock, [0, 3, 1], [2, 3])
    assert torch.equal(own["loss_box_reg"], expected["loss_box_reg"])
    target = torch.tensor([0, 3, 1, 2, 3])
    assert torch.equal(own["loss_cls"], encouraging_loss(scores, target, log_end=log_end))
    p = scores.double().softmax(-1).gather(1, target[:, None])
    assert p.max() < log_end
    torch.testing.assert_close(own["loss_cls"].double(), (-p.log() + (1 - p).log()).mean())
    torch.testing.assert_close(expected["loss_cls"], F.cross_entropy(scores, target))


def test_the_bound_reaches_the_loss():
    ours = predictor(EncouragingFastRCNNOutputLayers, log_end=1.0, bonus_eps=0.4)
    scores = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0]], dtype=torch.float64)
    with EventStorage():
        loss = ours.losses((scores, torch.zeros(2, 12)), [proposals([0, 3])])["loss_cls"]
    p = scores.softmax(-1)[[0, 1], [0, 3]]
    assert ((1 - p) < 0.4).tolist() == [True, False]
    torch.testing.assert_close(loss, (-p.log() + (1 - p).clamp(min=0.4).log()).mean())


def test_loss_weight_and_images_without_proposals():
    ours = predictor(EncouragingFastRCNNOutputLayers, loss_weight={"loss_cls": 2.0})
    once = predictor(EncouragingFastRCNNOutputLayers)
    torch.testing.assert_close(losses(ours, [0, 1])[1]["loss_cls"], 2 * losses(once, [0, 1])[1]["loss_cls"])
    assert losses(once, [])[1]["loss_cls"].item() == 0


def test_errors_name_the_key():
    with pytest.raises(ValueError, match=re.escape("log_end (MODEL.ROI_BOX_HEAD.LOG_END) must be")):
        predictor(EncouragingFastRCNNOutputLayers, log_end=1.5)
    with pytest.raises(ValueError, match=re.escape("bonus_eps (MODEL.ROI_BOX_HEAD.BONUS_EPS) must be")):
        predictor(EncouragingFastRCNNOutputLayers, bonus_eps=0.5)
    with pytest.raises(ValueError, match=re.escape("(MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE) must")):
        predictor(EncouragingFastRCNNOutputLayers, use_sigmoid_ce=True)


def config(name, *options, zoo="faster_rcnn_R_50_FPN_1x"):
    """A stock Faster R-CNN config with other heads, small."""
    cfg = model_zoo.get_config(f"COCO-Detection/{zoo}.yaml")
    small = ["MODEL.DEVICE", "cpu", "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64]
    cfg.merge_from_list([*small, "MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NAME", name, *options])
    return cfg


def build(name, *options, **zoo):
    torch.manual_seed(3)
    return build_model(config(name, *options, **zoo))


@pytest.mark.parametrize("with_keys", [True, False])
def test_faster_rcnn_by_config(with_keys):
    cfg = config("EncouragingROIHeads")
    if with_keys:
        add_encouraging_config(cfg)
        merge_options(cfg, ["MODEL.ROI_BOX_HEAD.LOG_END", "1", "MODEL.ROI_BOX_HEAD.BONUS_EPS", "0.001"])
    model = build_model(cfg)
    assert model.roi_heads.box_predictor.log_end == (1 if with_keys else 0.75)
    assert model.roi_heads.box_predictor.bonus_eps == (1e-3 if with_keys else 1e-5)
    assert training_losses(model, sample(2, 0))["loss_cls"].isfinite()


@pytest.mark.parametrize(
    ("ours", "stock", "zoo"),
    [
        ("EncouragingROIHeads", "StandardROIHeads", "faster_rcnn_R_50_FPN_1x"),
        ("EncouragingRes5ROIHeads", "Res5ROIHeads", "faster_rcnn_R_50_C4_1x"),
    ],
)
def test_the_same_seed_gives_the_stock_weights(ours, stock, zoo):
    # The C4 heads' last stage has bottleneck blocks; the mask head is built after the box head.
    options = ["MODEL.MASK_ON", True, "MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.RES2_OUT_CHANNELS", 256]
    model, expected = build(ours, *options, zoo=zoo), build(stock, *options, zoo=zoo)
    assert list(model.state_dict()) == list(expected.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert isinstance(model.roi_heads.box_predictor, EncouragingFastRCNNOutputLayers)


def test_a_c4_config_trains_and_the_other_heads_say_which():
    options = ["MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.RES2_OUT_CHANNELS", 256]
    model = build("EncouragingRes5ROIHeads", *options, zoo="faster_rcnn_R_50_C4_1x")
    assert training_losses(model, sample(2))["loss_cls"].isfinite()
    with pytest.raises(ValueError, match="for a C4 config take EncouragingRes5ROIHeads"):
        build("EncouragingROIHeads", zoo="faster_rcnn_R_50_C4_1x")


def test_scripted_inference_is_stock():
    fields = {"proposal_boxes": Boxes, "objectness_logits": torch.Tensor, "pred_boxes": Boxes}
    fields.update(scores=torch.Tensor, pred_classes=torch.Tensor)
    batch = [{"image": sample(1)[0]["image"]}]
    model = build("EncouragingROIHeads", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0).eval()
    with torch.no_grad():
        scripted = scripting_with_instances(model, fields).inference(batch, do_postprocess=False)[0]
        expected = model.inference(batch, do_postprocess=False)[0]
    assert len(expected) == len(scripted.scores) > 0
    assert torch.equal(scripted.scores, expected.scores)


def test_two_backward_passes():
    model = build("EncouragingROIHeads")
    losses = training_losses(model, sample(2))
    weight = model.roi_heads.box_predictor.cls_score.weight
    losses["loss_cls"].backward(retain_graph=True)
    once = weight.grad.clone()
    losses["loss_cls"].backward()
    torch.testing.assert_close(weight.grad, 2 * once)
