"""Train a Lightning module with encouraging loss, on scikit-learn's digits.

    pip install '.[examples]'
    python examples/lightning_classifier.py

In a module that you have, one line changes: the loss made in ``__init__``. As a module it moves to the device
with its class weights, if any. Watch an accuracy or a plain cross-entropy, not the loss with its bonus.
"""

from __future__ import annotations

import lightning
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from el_plugins.losses import EncouragingLoss


class Classifier(lightning.LightningModule):
    """Two layers over 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.loss = EncouragingLoss(label_smoothing=0.1, log_end=0.75)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of a batch: (N, 64) pixels and (N) labels."""
        pixels, labels = batch
        loss = self.loss(self.model(pixels), labels)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """Log what compares with other losses."""
        pixels, labels = batch
        logits = self.model(pixels)
        self.log("cross_entropy", F.cross_entropy(logits, labels))
        self.log("accuracy", (logits.argmax(1) == labels).float().mean())

    def on_train_epoch_end(self) -> None:
        """Print the epoch's values."""
        values = {name: value.item() for name, value in self.trainer.callback_metrics.items()}
        print(
            f"epoch {self.current_epoch + 1}: loss {values['loss']:.3f}, "
            f"test cross-entropy {values['cross_entropy']:.3f}, test accuracy {values['accuracy']:.3f}"
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main() -> None:
    """Train for some epochs."""
    lightning.seed_everything(0)
    pixels, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(pixels / 16).float(), torch.tensor(labels))
    train, test = random_split(digits, [0.8, 0.2])
    trainer = lightning.Trainer(
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(
        Classifier(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(test, batch_size=len(test))
    )


if __name__ == "__main__":
    main()
