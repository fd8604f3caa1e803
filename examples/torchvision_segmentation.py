"""Train a torchvision segmentation model with encouraging loss: which digit, if any, is at each pixel.

    pip install '.[examples]'
    python examples/torchvision_segmentation.py

(N, C, H, W) logits against (N, H, W) labels, of which 255 (void) do not count, as in ``F.cross_entropy``: the
line ``loss_function`` is the whole change. Images are scikit-learn's digits, void their strokes' grey rims.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchvision.models import resnet18
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.fcn import FCN, FCNHead

from el_plugins.losses import EncouragingLoss

BACKGROUND, VOID = 10, 255


def pixel_labels(ink: torch.Tensor, digit: torch.Tensor) -> torch.Tensor:
    """The class of each pixel, (N, H, W), from the ink in [0, 1], (N, 1, H, W), and the digits, (N)."""
    labels = digit.view(-1, 1, 1).expand(ink[:, 0].shape)
    return labels.masked_fill(ink[:, 0] < 0.5, VOID).masked_fill(ink[:, 0] < 0.1, BACKGROUND)


def main() -> None:
    """Train, and print loss and accuracy on the strokes of held-out digits."""
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    ink = F.interpolate(torch.tensor(pixels / 16).float().view(-1, 1, 8, 8), size=32, mode="bilinear")
    data = TensorDataset(ink.expand(-1, 3, -1, -1), pixel_labels(ink, torch.tensor(digits)))
    train, test = random_split(data, [0.8, 0.2])

    model = FCN(IntermediateLayerGetter(resnet18(weights=None), {"layer2": "out"}), FCNHead(128, 11))
    loss_function = EncouragingLoss(ignore_index=VOID, log_end=0.75)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    model.train()
    for images, labels in DataLoader(train, batch_size=32, shuffle=True, drop_last=True):
        loss = loss_function(model(images)["out"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.inference_mode():
        images, labels = next(iter(DataLoader(test, batch_size=len(test))))
        right = (model(images)["out"].argmax(1) == labels)[labels < BACKGROUND]
    print(f"loss {losses[0]:.3f}, then {losses[-1]:.3f}; test accuracy {right.float().mean():.3f}")


if __name__ == "__main__":
    main()
