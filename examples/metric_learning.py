"""Learn embeddings with pytorch-metric-learning and encouraging loss, on scikit-learn's digits.

    pip install '.[examples]'
    python examples/metric_learning.py

The library's softmax losses make logits out of embeddings, with a margin or a temperature, and give them to
their attribute ``cross_entropy``. Replacing it, the line in ``encouraging``, is the whole change.
"""

import torch
from pytorch_metric_learning.losses import ArcFaceLoss, LargeMarginSoftmaxLoss, NormalizedSoftmaxLoss
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from el_plugins.losses import EncouragingLoss

LOSSES = (LargeMarginSoftmaxLoss, ArcFaceLoss, NormalizedSoftmaxLoss)


def encouraging(loss: nn.Module, **options: object) -> nn.Module:
    """``loss`` with encouraging loss in place of cross-entropy; miners weight its rows, so no reduction."""
    loss.cross_entropy = EncouragingLoss(reduction="none", **options)
    return loss


def main() -> None:
    """Train with each of the losses and print its accuracy on held-out digits."""
    pixels, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = map(
        torch.tensor, train_test_split(pixels.astype("float32") / 16, labels, test_size=0.2, random_state=0)
    )
    for kind in LOSSES:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        loss_function = encouraging(kind(num_classes=10, embedding_size=16), log_end=0.75)
        optimizer = torch.optim.Adam([*model.parameters(), *loss_function.parameters()], lr=3e-3)
        history = []
        for _ in range(7):
            for rows in torch.randperm(len(train_x)).split(64):
                loss = loss_function(model(train_x[rows]), train_y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                history.append(loss.item())
        with torch.inference_mode():
            accuracy = (loss_function.get_logits(model(test_x)).argmax(1) == test_y).float().mean()
        print(f"{kind.__name__}: loss {history[0]:.3f}, then {history[-1]:.3f}; test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
