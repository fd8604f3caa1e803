"""Faster R-CNN's box predictor with encouraging loss beside detectron2's own."""

import re

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("detectron2")

from detectron2 import model_zoo
from detectron2.config import LazyCall, instantiate
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from detectron2_heads import EncouragingFastRCNNOutputLayers, add_encouraging_config
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
    found = Instances((64, 64), proposal_boxes=Boxes(boxes), gt_boxes=Boxes(boxes + 2))
    found.gt_classes = torch.tensor(classes, dtype=torch.long)
    return found


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
    (scores, _), found = losses(ours, [0, 3, 1], [2, 3])
    _, expected = losses(stock, [0, 3, 1], [2, 3])
    assert torch.equal(found["loss_box_reg"], expected["loss_box_reg"])
    target = torch.tensor([0, 3, 1, 2, 3])
    assert torch.equal(found["loss_cls"], encouraging_loss(scores, target, log_end=log_end))
    p = scores.double().softmax(-1).gather(1, target[:, None])
    assert p.max() < log_end
    torch.testing.assert_close(found["loss_cls"].double(), (-p.log() + (1 - p).log()).mean())
    torch.testing.assert_close(expected["loss_cls"], F.cross_entropy(scores, target))


def test_the_bound_reaches_the_loss():
    ours = predictor(EncouragingFastRCNNOutputLayers, log_end=1.0, bonus_eps=0.4)
    scores = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0]], dtype=torch.float64)
    with EventStorage():
        found = ours.losses((scores, torch.zeros(2, 12)), [proposals([0, 3])])["loss_cls"]
    p = scores.softmax(-1)[[0, 1], [0, 3]]
    assert ((1 - p) < 0.4).tolist() == [True, False]
    torch.testing.assert_close(found, (-p.log() + (1 - p).clamp(min=0.4).log()).mean())


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


@pytest.mark.parametrize("with_keys", [True, False])
def test_faster_rcnn_by_config(with_keys):
    cfg = model_zoo.get_config("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml")
    options = ["MODEL.ROI_HEADS.NAME", "EncouragingROIHeads", "MODEL.DEVICE", "cpu"]
    options += ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64]
    if with_keys:
        add_encouraging_config(cfg)
        options += ["MODEL.ROI_BOX_HEAD.LOG_END", 0.5, "MODEL.ROI_BOX_HEAD.BONUS_EPS", 1e-3]
    cfg.merge_from_list(options)
    model = build_model(cfg)
    assert model.roi_heads.box_predictor.log_end == (0.5 if with_keys else 0.75)
    assert model.roi_heads.box_predictor.bonus_eps == (1e-3 if with_keys else 1e-5)
    found = training_losses(model, sample(2, 0))
    assert found["loss_cls"].isfinite()
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    assert list(model.state_dict()) == list(build_model(cfg).state_dict())
