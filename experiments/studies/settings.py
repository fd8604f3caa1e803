"""What a study trains on and how: defaults, then a YAML file, then KEY=VALUE of the command line."""

# No postponed annotations here: OmegaConf reads the fields' types as types.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from timm.optim import list_optimizers

SMALLEST = {
    "epochs": 1,
    "batch_size": 1,
    "size": 1,
    "workers": 0,
    "tail": 1,
    "attacked": 1,
    "auto_attacked": 1,
}
SCHEDULES = ("one_cycle", "cosine", "steps")


@dataclass
class Settings:
    """One training; a step's size in ``lr`` is for the baseline."""

    data: str = "digits"  # digits, mnist, fashion_mnist, cifar10, cifar100, or a folder with train/ and val/
    root: str = "data"  # where data sets are, or are downloaded to
    ood: List[str] = field(default_factory=list)  # other data sets that are foreign (study ood)
    tail: float = 1.0  # images of the most common class per image of the rarest (long_tail, focal)
    attacked: int = 300  # test images under attack (study adversarial)
    auto_attacked: int = 100  # of them, for AutoAttack
    model: str = "small"  # small, pooled, mnist_cnn, or any model of timm
    model_args: Dict[str, Any] = field(default_factory=dict)  # for timm.create_model
    size: int = 32  # height and width to which a folder's images are cropped
    epochs: int = 15
    batch_size: int = 32  # of each process
    optimizer: str = "adamw"  # sgd (with Nesterov's momentum), momentum (without), or any of timm
    lr: float = 0.003
    schedule: str = "one_cycle"  # cosine, or steps: the learning rate falls to a tenth after each of drops
    drops: List[float] = field(default_factory=list)  # as shares of the training
    deferred: float = 0.5  # share of the training before a deferred loss takes over (long_tail, graphs)
    weight_decay: float = 0.01
    workers: int = 0  # processes that load images
    note: str = ""  # for the report
    seeds: List[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])


def read_settings(defaults: Mapping[str, Any], path: Optional[Path], given: Sequence[str]) -> Settings:
    """The settings of a study.

    Args:
        defaults: the study's own.
        path: YAML file, or None.
        given: ``KEY=VALUE``, which win.

    Raises:
        ValueError: not YAML, or a key or value that is unknown or out of range; the message names it.
    """
    try:
        file = {} if path is None else yaml.safe_load(path.read_text(encoding="utf-8"))
        layers = [OmegaConf.structured(Settings), dict(defaults), file, OmegaConf.from_dotlist(list(given))]
        settings = OmegaConf.to_object(OmegaConf.merge(*layers))
    except (yaml.YAMLError, OmegaConfBaseException, TypeError) as error:
        raise ValueError(f"{path or 'settings'}: {error}") from error
    assert isinstance(settings, Settings)  # for mypy
    for name, smallest in SMALLEST.items():
        if getattr(settings, name) < smallest:
            raise ValueError(f"{name} must be {smallest} or more, got {getattr(settings, name)}")
    if settings.optimizer not in list_optimizers():
        raise ValueError(
            f"optimizer must be one of {', '.join(list_optimizers())}, got {settings.optimizer!r}"
        )
    if settings.lr <= 0 or settings.weight_decay < 0:
        raise ValueError(
            f"lr must be above 0 and weight_decay 0 or more, got {settings.lr} and {settings.weight_decay}"
        )
    if settings.schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {settings.schedule!r}")
    if settings.drops and settings.schedule != "steps":
        raise ValueError(f"drops need schedule=steps, got {settings.drops} with {settings.schedule}")
    if not all(0 < drop < 1 for drop in settings.drops) or not 0 <= settings.deferred < 1:
        raise ValueError(
            f"drops and deferred are shares of the training, between 0 and 1, got {settings.drops} and "
            f"{settings.deferred}"
        )
    if settings.auto_attacked > settings.attacked:
        raise ValueError(
            f"auto_attacked must be at most the {settings.attacked} of attacked, got {settings.auto_attacked}"
        )
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds) or min(settings.seeds) < 0:
        raise ValueError(f"seeds must be one or more whole numbers, all different, got {settings.seeds}")
    return settings
