"""Small detectors, stock and ours, and inputs for them."""

import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg, instantiate
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from detectron2_heads import add_encouraging_config, add_halted_focal_config

STOCK_YAML = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"


def config(architecture, *options):
    """The stock RetinaNet config on CPU, narrow and shallow, with another meta-architecture."""
    cfg = get_cfg()
    add_halted_focal_config(cfg)
    add_encouraging_config(cfg)
    cfg.merge_from_file(model_zoo.get_config_file(STOCK_YAML))
    small = ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.FPN.OUT_CHANNELS", 16]
    small += ["MODEL.RETINANET.NUM_CONVS", 1, "MODEL.RETINANET.NUM_CLASSES", 5, "MODEL.WEIGHTS", ""]
    small += ["MODEL.RETINANET.SCORE_THRESH_TEST", 0.0, "MODEL.PIXEL_STD", [57.0, 57.0, 57.0]]
    cfg.merge_from_list([*small, "MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", architecture, *options])
    return cfg


def retinanet(architecture="HaltedFocalRetinaNet", *options, seed=0):
    torch.manual_seed(seed)
    return build_model(config(architecture, *options))


def fcos(target, seed=0, **arguments):
    """The stock LazyConfig of FCOS, narrow, with ``_target_`` replaced."""
    torch.manual_seed(seed)
    model = model_zoo.get_config("common/models/fcos.py").model
    model.update(_target_=target, num_classes=5, test_score_thresh=0.0, **arguments)
    model.backbone.out_channels = 32
    model.backbone.top_block.in_channels = 32
    model.head.input_shape = [ShapeSpec(channels=32)] * 5
    model.head.conv_dims = [32]
    return instantiate(model)


def sample(*counts, size=96, seed=0, classes=5):
    """A batch of random images, one for each count of objects."""
    generator = torch.Generator().manual_seed(seed)
    batch = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * size / 2
        extent = 12 + torch.rand(count, 2, generator=generator) * (size / 2 - 12)
        instances = Instances((size, size))
        instances.gt_boxes = Boxes(torch.cat([corner, corner + extent], dim=1))
        instances.gt_classes = torch.randint(classes, (count,), generator=generator)
        image = 255 * torch.rand(3, size, size, generator=generator)
        batch.append({"image": image, "instances": instances, "height": size, "width": size})
    return batch


def training_losses(model, batch):
    """The losses of one training step, in an event storage as detectron2's trainers have."""
    model.train()
    with EventStorage():
        return model(batch)


def gradients(model, losses):
    model.zero_grad()
    sum(losses.values()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_step(one, other, batch, **tolerance):
    """Losses and gradients of a training step agree between two detectors."""
    first, second = training_losses(one, batch), training_losses(other, batch)
    torch.testing.assert_close(first, second, **tolerance)
    torch.testing.assert_close(gradients(one, first), gradients(other, second), **tolerance)


def assert_same_detections(one, other, batch):
    """Detections agree to the last bit, and there are some."""
    one.eval()
    other.eval()
    with torch.no_grad():
        for a, b in zip(one(batch), other(batch)):
            a, b = a["instances"].get_fields(), b["instances"].get_fields()
            assert len(a["scores"]) == len(b["scores"]) > 0
            assert torch.equal(a["pred_boxes"].tensor, b["pred_boxes"].tensor)
            assert torch.equal(a["scores"], b["scores"])
            assert torch.equal(a["pred_classes"], b["pred_classes"])
