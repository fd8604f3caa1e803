"""Training and applying a model, on whatever devices accelerate finds (several under torchrun)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from el_plugins.metrics import require_finite
from el_plugins.utils.divergence import DivergedError
from experiments.studies.data import Images
from experiments.studies.models import Classifier
from experiments.studies.settings import Settings

Loss = Callable[[Tensor, Tensor], Tensor]


def fit(
    model: nn.Module,
    data: Dataset,
    loss: Loss,
    settings: Settings,
    *,
    lr: float = 1.0,
    sampler: Sampler | None = None,
    deferred: Loss | None = None,
    perturb: Callable[[Any, Tensor, Tensor], Tensor] | None = None,
) -> nn.Module:
    """Train ``model`` in place.

    Args:
        model: what gets images and gives what ``loss`` takes.
        data: items (image, class index).
        loss: of the model's output and (N,) class indices, a scalar.
        settings: epochs, batch size, optimizer, learning rate and its schedule, weight decay.
        lr: factor of the settings' learning rate.
        sampler: instead of a new order every epoch.
        deferred: the loss after ``settings.deferred`` of the steps.
        perturb: makes the images to train on from (model, images, classes).

    Returns:
        The model, on the device it was trained on.

    Raises:
        DivergedError: the loss of a step is not finite, or the model's outputs after the last one are not.
    """
    accelerator = Accelerator()
    for module in (loss, deferred):
        if isinstance(module, nn.Module):
            module.to(accelerator.device)
    optimizer = create_optimizer_v2(
        list(model.parameters()), settings.optimizer, settings.lr * lr, weight_decay=settings.weight_decay
    )
    loader = DataLoader(
        data,
        settings.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        num_workers=settings.workers,
        drop_last=len(data) % settings.batch_size == 1,  # type: ignore[arg-type]  # batch normalisation needs two samples
    )
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    steps = len(loader) * settings.epochs
    schedule = learning_rates(optimizer.optimizer, settings, steps)
    wrapped.train()
    step = 0
    while step < steps:
        for images, classes in loader:
            if perturb is not None:
                images = perturb(model, images, classes)
            current = deferred if deferred is not None and step >= settings.deferred * steps else loss
            step += 1
            optimizer.zero_grad()
            value = current(wrapped(images), classes)
            check_finite(value, step, accelerator)
            accelerator.backward(value)
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        check_finite(model(images), step, accelerator)
    return model


def learning_rates(
    optimizer: torch.optim.Optimizer, settings: Settings, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule of ``settings`` over ``steps`` steps; the optimizer's own learning rate is the highest."""
    if settings.schedule == "steps":
        drops = [round(drop * steps) for drop in settings.drops]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    highest = optimizer.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=highest, total_steps=steps, cycle_momentum=False
    )


def check_finite(values: Tensor, step: int, accelerator: Accelerator) -> None:
    """Stop all processes if one of them has a loss or an output that is not finite.

    Raises:
        DivergedError: one has.
    """
    bad = (~torch.isfinite(values)).any().float()
    if accelerator.reduce(bad):
        raise DivergedError(step)


def classifier(
    settings: Settings, images: Images, seed: int, loss: Loss, lr: float = 1.0, **options: object
) -> Classifier:
    """A new :class:`Classifier`, its start and the order of the samples decided by ``seed``, trained."""
    set_seed(seed)
    model = Classifier(settings, images)
    fit(model, images.train, loss, settings, lr=lr, **options)  # type: ignore[arg-type]
    return model


def retrain_head(
    model: Classifier, data: Dataset, settings: Settings, *, sampler: Sampler | None = None
) -> None:
    """Put a new head on ``model`` and train it with cross-entropy; the body stays as it is."""
    model.head.reset_parameters()
    probe = Probe(model.features, model.head)
    fit(probe, data, nn.CrossEntropyLoss(), settings, sampler=sampler)


class Probe(nn.Module):
    """A head on features of a body that is neither trained nor normalised by the batch."""

    def __init__(self, features: Callable[[Tensor], Tensor], head: nn.Module):
        super().__init__()
        self.features = features  # no module of this one: its body stays in evaluation mode
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits."""
        return self.head(self.features(images).detach())


@torch.no_grad()
def apply(model: nn.Module, data: Dataset, settings: Settings) -> tuple[Tensor, Tensor]:
    """Outputs of ``model`` for ``data`` and their class indices, on the CPU: (N, ...) and (N,)."""
    device = next(model.parameters()).device
    loader = DataLoader(data, 512, num_workers=settings.workers)
    pairs = [(model(images.to(device)).cpu(), classes) for images, classes in loader]
    outputs, classes = zip(*pairs)
    return torch.cat(outputs), torch.cat(classes)


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of rows, in per cent, whose largest logit is the target's.

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    require_finite(logits=logits)
    return 100 * (logits.argmax(dim=1) == target).double().mean().item()
