"""DETR's descendants with halted focal loss against their own loss, and a few steps of training."""

import inspect

import pytest
import torch

transformers = pytest.importorskip("transformers")
pytest.importorskip("scipy")  # for the matching

from transformers.image_transforms import center_to_corners_format
from transformers.loss.loss_rt_detr import RTDetrLoss, box_iou

from el_plugins.integrations.transformers import use_halted_focal_loss
from el_plugins.losses import sigmoid_halted_focal_loss

SIZE = 64
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
SIZES = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 10,
    "num_labels": 3,
    "dropout": 0.0,
    "auxiliary_loss": True,
}
TEXT = {"vocab_size": 1100, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
THREE_LEVELS = {"num_feature_levels": 3}
WITH_TEXT = {**THREE_LEVELS, "max_text_len": 8}
KINDS = {
    "ConditionalDetr": {},
    "DabDetr": {},
    "DeformableDetr": THREE_LEVELS,
    "GroundingDino": WITH_TEXT,
    "MMGroundingDino": WITH_TEXT,
}


def detector(kind):
    torch.manual_seed(0)
    settings = {**SIZES, **KINDS[kind]}
    features = ["stage2", "stage3", "stage4"] if "num_feature_levels" in settings else ["stage4"]
    settings["backbone_config"] = transformers.ResNetConfig(**RESNET, out_features=features)
    if "max_text_len" in settings:
        settings["text_config"] = transformers.BertConfig(**TEXT, intermediate_size=32)
    config = getattr(transformers, f"{kind}Config")(**settings)
    return getattr(transformers, f"{kind}ForObjectDetection")(config).train()


def batch(model):
    torch.manual_seed(1)
    boxes = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.6, 0.7, 0.3, 0.2]])
    labels = [{"class_labels": torch.tensor([0, 1]), "boxes": boxes}] * 2
    pixels = torch.rand(2, 3, SIZE, SIZE)
    inputs = {"pixel_values": pixels, "labels": labels}
    if hasattr(model.config, "max_text_len"):  # two names, each followed by a full stop, and padding
        inputs["input_ids"] = torch.tensor([[101, 5, 1012, 6, 1012, 102, 0, 0]] * 2)
        inputs["attention_mask"] = (inputs["input_ids"] > 0).long()
    return inputs


def losses_and_gradient(model):
    model.zero_grad()
    outputs = model(**batch(model))
    outputs.loss.backward()
    parts = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return outputs.loss_dict, torch.cat(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_halting_nothing_it_is_the_models_own_loss(kind):
    model = detector(kind)
    own, gradient = losses_and_gradient(model)
    with use_halted_focal_loss(model, halt_threshold=1):
        losses, same = losses_and_gradient(model)
    torch.testing.assert_close(losses, own)
    assert (same - gradient).norm() < 1e-5 * gradient.norm()
    with use_halted_focal_loss(model, halt="both"):  # every sure background element counts less than 0
        halted = model(**batch(model)).loss_dict
    assert halted["loss_ce"] < own["loss_ce"]
    assert halted["loss_ce_0"] < own["loss_ce_0"]
    assert halted["loss_bbox"] == own["loss_bbox"]
    assert model(**batch(model)).loss_dict["loss_ce"] == own["loss_ce"]


@pytest.mark.parametrize(
    ("options", "alpha", "gamma"),
    [({}, 0.3, 2.0), ({"alpha": 0.6}, 0.6, 2.0), ({"gamma": 1.0}, 0.3, 1.0)],
    ids=["its own", "alpha", "gamma"],
)
@pytest.mark.parametrize("kind", ["DeformableDetr", "GroundingDino"])
def test_alpha_and_gamma_are_those_given_or_else_the_models(kind, options, alpha, gamma, monkeypatch):
    model = detector(kind)
    model.config.focal_alpha = 0.3  # not the default of our loss
    module = inspect.getmodule(model.loss_function)
    own, calls = module.sigmoid_focal_loss, []

    def watched(inputs, targets, num_boxes, alpha, gamma):
        calls.append((inputs, targets, num_boxes))
        return own(inputs, targets, num_boxes, alpha, gamma)

    with monkeypatch.context() as patch:
        patch.setattr(module, "sigmoid_focal_loss", watched)
        model(**batch(model))
    with use_halted_focal_loss(model, **options):
        losses = model(**batch(model)).loss_dict
    found = [value for name, value in losses.items() if name.startswith("loss_ce")]
    expected = [
        sigmoid_halted_focal_loss(inputs, targets, alpha, gamma, "sum") / num_boxes
        for inputs, targets, num_boxes in calls
    ]
    assert len(expected) >= 2  # a layer of the decoder each
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains(kind):
    model = detector(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with use_halted_focal_loss(model, alpha=0.5, gamma=1.0):
        losses = []
        for _ in range(5):
            loss = model(**batch(model)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_varifocal_loss_has_nothing_to_halt():
    config = transformers.RTDetrConfig(num_labels=3)
    criterion = RTDetrLoss(config)
    torch.manual_seed(0)
    logits = torch.randn(1, 6, 3, dtype=torch.float64)
    boxes = torch.full((1, 6, 4), 0.4, dtype=torch.float64)
    wanted = [{"class_labels": torch.tensor([1, 2]), "boxes": boxes[0, :2] + 0.05}]
    matched = [(torch.tensor([0, 1]), torch.tensor([0, 1]))]
    outputs = {"logits": logits, "pred_boxes": boxes}
    own = criterion.loss_labels_vfl(outputs, wanted, matched, num_boxes=2)["loss_vfl"]
    quality = torch.zeros_like(logits)
    corners = [center_to_corners_format(part) for part in (boxes[0, :2], wanted[0]["boxes"])]
    quality[0, [0, 1], [1, 2]] = box_iou(*corners)[0].diag()
    assert (quality > 0).sum() == 2
    alpha, gamma = config.focal_loss_alpha, config.focal_loss_gamma
    # Objects have no factor (1-p)^gamma; background is focal loss, whose weight here is 1 - alpha.
    objects = quality * sigmoid_halted_focal_loss(logits, quality, -1, 0.0, halt_threshold=1)
    background = sigmoid_halted_focal_loss(logits, quality, 1 - alpha, gamma, halt_threshold=1)
    torch.testing.assert_close(torch.where(quality > 0, objects, background).sum() / 2, own)


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match=r"Linear must have one of the focal losses .*, it has None"):
        use_halted_focal_loss(torch.nn.Linear(1, 1))
    with torch.device("meta"):
        varifocal = transformers.RTDetrForObjectDetection(transformers.RTDetrConfig())
    with pytest.raises(ValueError, match=r"it has RTDetrForObjectDetectionLoss"):
        use_halted_focal_loss(varifocal)
    model = detector("ConditionalDetr")
    with pytest.raises(ValueError, match="gamma"):
        use_halted_focal_loss(model, gamma=-1.0)
    name = "transformers.loss.loss_deformable_detr.sigmoid_focal_loss"
    monkeypatch.setattr(name, lambda inputs, targets, boxes: None)
    with pytest.raises(ValueError, match=r"must have the parameters inputs, .*, got inputs, targets, boxes"):
        use_halted_focal_loss(model)


def test_twice_is_refused():
    model = detector("DeformableDetr")
    with use_halted_focal_loss(model), pytest.raises(ValueError, match="has halted focal loss already: undo"):
        use_halted_focal_loss(model)
