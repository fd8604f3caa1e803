"""Train a timm model with encouraging loss, in the loop of timm's train.py, on scikit-learn's digits.

    pip install '.[examples]'
    python examples/timm_training.py            # class indices
    python examples/timm_training.py --mixup    # class probabilities, mixed by timm.data.Mixup

Against timm's train.py one line changes, ``loss_function``: it takes both kinds of targets, where timm has a
loss for each. As there, with mixup the labels are smoothed by Mixup and not again by the loss.
"""

import argparse

import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import random_seed
from torch.utils.data import DataLoader, TensorDataset, random_split

from el_plugins.losses import EncouragingLoss

EPOCHS = 2


def main() -> None:
    """Train and print loss and accuracy of each epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mixup", action="store_true", help="mix pairs of images and their labels")
    with_mixup = parser.parse_args().mixup
    random_seed(0)

    pixels, labels = load_digits(return_X_y=True)
    images = F.interpolate(torch.tensor(pixels / 16).float().view(-1, 1, 8, 8), size=32)
    train, test = random_split(TensorDataset(images, torch.tensor(labels)), [0.8, 0.2])
    mixup = Mixup(mixup_alpha=0.2, label_smoothing=0.1, num_classes=10) if with_mixup else None

    model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    loss_function = EncouragingLoss(label_smoothing=0.0 if mixup else 0.1, log_end=0.75)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=4e-3)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS)

    for epoch in range(EPOCHS):
        model.train()
        total = 0.0
        loader = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
        for input, target in loader:
            if mixup is not None:
                input, target = mixup(input, target)
            loss = loss_function(model(input), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)
        scheduler.step(epoch + 1)
        model.eval()
        with torch.inference_mode():
            input, target = next(iter(DataLoader(test, batch_size=len(test))))
            accuracy = (model(input).argmax(1) == target).float().mean()
        print(f"epoch {epoch + 1}: loss {total:.3f}, test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
