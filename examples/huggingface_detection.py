"""Train a Conditional DETR of transformers with halted focal loss, on scenes of handwritten digits.

    pip install '.[integrations]' scikit-learn
    python examples/huggingface_detection.py

``use_halted_focal_loss`` is the whole change. The scenes are those of ``torchvision_retinanet.py``.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torchvision.ops import box_convert
from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection, ResNetConfig

from el_plugins.integrations.transformers import use_halted_focal_loss

if __package__:
    from examples.torchvision_retinanet import SIZE, scene
else:  # run as a program
    from torchvision_retinanet import SIZE, scene


def small_detr() -> ConditionalDetrForObjectDetection:
    """A Conditional DETR of 0.2 million parameters, all weights random."""
    backbone = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 16, 32, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_queries": 20, "num_labels": 10}
    config = ConditionalDetrConfig(backbone_config=backbone, d_model=64, dropout=0.0, **layers, **heads)
    return ConditionalDetrForObjectDetection(config)


def main() -> None:
    """Train on a batch of two scenes again and again, and print its losses."""
    torch.manual_seed(0)
    digits = load_digits()
    pixels, classes = torch.tensor(digits.images).float() / 16, torch.tensor(digits.target)
    images, targets = zip(*(scene(pixels[i : i + 4], classes[i : i + 4]) for i in (0, 4)))
    labels = [
        {
            "class_labels": target["labels"],
            "boxes": box_convert(target["boxes"] / SIZE, "xyxy", "cxcywh"),
        }
        for target in targets
    ]
    model = small_detr().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with use_halted_focal_loss(model):
        for step in range(1, 9):
            outputs = model(torch.stack(images), labels=labels)
            optimizer.zero_grad()
            outputs.loss.backward()
            optimizer.step()
            parts = ", ".join(f"{name} {outputs.loss_dict[name]:.3f}" for name in ("loss_ce", "loss_bbox"))
            print(f"step {step}: loss {outputs.loss:.3f} ({parts})")


if __name__ == "__main__":
    main()
