"""Train torchvision's RetinaNet with halted focal loss, on scenes of scikit-learn's handwritten digits.

    pip install '.[examples]'
    python examples/torchvision_retinanet.py

``use_halted_focal_loss`` is the whole change; the model is torchvision's, so checkpoints load. A halted loss
may be negative.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.retinanet import RetinaNet

from el_plugins.integrations.torchvision import use_halted_focal_loss

SIZE = 128


def small_retinanet() -> RetinaNet:
    """RetinaNet on a ResNet-18, all weights random."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, returned_layers=[2, 3]
    )
    anchors = AnchorGenerator(
        sizes=((12, 15, 19), (24, 30, 38), (48, 60, 76)), aspect_ratios=((0.7, 1, 1.4),) * 3
    )
    return RetinaNet(backbone, 10, SIZE, SIZE, anchor_generator=anchors)


def scene(pixels: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Four digits of 8 x 8 pixels, each enlarged at random and put into a quarter of the picture."""
    picture = torch.zeros(SIZE, SIZE)
    boxes = []
    for digit, (x, y) in zip(pixels, ((0, 0), (64, 0), (0, 64), (64, 64))):
        zoom = int(torch.randint(3, 8, ()))
        size = 8 * zoom
        picture[y : y + size, x : x + size] = digit.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
        boxes.append([x, y, x + size, y + size])
    return picture.expand(3, -1, -1), {"boxes": torch.tensor(boxes).float(), "labels": labels}


def main() -> None:
    """Train repeatedly on a batch of two scenes and print its losses."""
    torch.manual_seed(0)
    digits = load_digits()
    pixels, labels = torch.tensor(digits.images).float() / 16, torch.tensor(digits.target)
    images, targets = zip(*(scene(pixels[i : i + 4], labels[i : i + 4]) for i in (0, 4)))

    model = small_retinanet().train()
    use_halted_focal_loss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for step in range(1, 7):
        losses = model(list(images), list(targets))
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        parts = ", ".join(f"{name} {part:.3f}" for name, part in losses.items())
        print(f"step {step}: loss {loss:.3f} ({parts})")


if __name__ == "__main__":
    main()
