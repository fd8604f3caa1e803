"""What a study trains on and how: defaults, then a YAML file, then KEY=VALUE of the command line."""

# No postponed annotations here: OmegaConf reads the fields' types as types.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from timm.optim import list_optimizers

SMALLEST = {"epochs": 1, "batch_size": 1, "size": 1, "workers": 0}


@dataclass
class Settings:
    """One training; a step's size in ``lr`` is for the baseline."""

    data: str = "digits"  # digits, mnist, fashion_mnist, cifar10, cifar100, or a folder with train/ and val/
    root: str = "data"  # where data sets are downloaded to
    ood: List[str] = field(default_factory=list)  # other data sets that are foreign (study ood)
    model: str = "small"  # small, or any model of timm
    size: int = 32  # height and width of images that a folder's are cut to
    epochs: int = 15
    batch_size: int = 32  # of each process
    optimizer: str = "adamw"  # sgd (with Nesterov's momentum), or any of timm
    lr: float = 0.003
    weight_decay: float = 0.01
    workers: int = 0  # processes that load images
    seeds: List[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])


def read_settings(defaults: Mapping[str, Any], path: Optional[Path], given: Sequence[str]) -> Settings:
    """The settings of a study.

    Args:
        defaults: the study's own.
        path: YAML file, or None.
        given: ``KEY=VALUE``, which win.

    Raises:
        ValueError: no YAML, or a key or value that is unknown or out of range; the message names it.
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
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds) or min(settings.seeds) < 0:
        raise ValueError(f"seeds must be one or more whole numbers, all different, got {settings.seeds}")
    return settings
