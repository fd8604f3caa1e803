"""The detection benchmark's YAML file: data sets, configs, systems and seeds."""

# No postponed annotations here: OmegaConf reads the fields' types as types.
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import detectron2_heads
from el_plugins.utils.commands import check_words
from el_plugins.utils.runs import check_names

SHIPPED = Path(detectron2_heads.__file__).parent / "configs"


@dataclass
class DataSet:
    """Annotations in COCO's JSON format and the folder of their images."""

    name: str = MISSING  # detectron2 logs it
    annotations: str = MISSING
    images: str = MISSING


@dataclass
class Data:
    """What is trained on and what AP is measured on."""

    train: DataSet = field(default_factory=DataSet)
    test: DataSet = field(default_factory=DataSet)
    prepare: Optional[str] = None  # shell command that makes the files if one is missing


@dataclass
class System:
    """One row of the comparison: a config and its own options."""

    name: str = MISSING
    config: Optional[str] = None  # wins over the shared one
    options: str = ""  # KEY VALUE ...; they win over the shared ones


@dataclass
class Benchmark:
    """Everything that determines the results."""

    data: Data = field(default_factory=Data)
    systems: List[System] = MISSING  # the first is the baseline
    seeds: List[int] = MISSING
    config: Optional[str] = None  # detectron2's YAML: a path, or the name of one in detectron2_heads/configs
    options: str = ""  # KEY VALUE ... that all systems share
    weights: Optional[str] = None  # initial weights; null for the config's
    gpus: Optional[int] = None  # of each machine, which a run takes together; null for all

    def config_file(self, system: System) -> str:
        """The detectron2 config of ``system``."""
        return str(system.config or self.config)

    def config_options(self, system: System, seed: int) -> List[str]:
        """KEY VALUE options of a run, except for where it goes; the later ones win."""
        options = [*shlex.split(self.options), *shlex.split(system.options)]
        if self.weights:
            options += ["MODEL.WEIGHTS", self.weights]
        options += ["DATASETS.TRAIN", f"('{self.data.train.name}',)"]
        return [*options, "DATASETS.TEST", f"('{self.data.test.name}',)", "SEED", str(seed)]


def read_settings(path: Path) -> Benchmark:
    """The benchmark that ``path`` describes, with absolute paths: relative ones start from its own folder.

    Raises:
        ValueError: it is not YAML, or a value is missing, unknown or out of range; the message names it.
    """
    try:
        given = OmegaConf.create(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        merged = OmegaConf.merge(OmegaConf.structured(Benchmark), given)
        benchmark = _build(OmegaConf.to_container(merged, resolve=True), path.resolve().parent)
        check(benchmark)
    except (yaml.YAMLError, OmegaConfBaseException, TypeError, UnicodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return benchmark


def select(benchmark: Benchmark, systems: Sequence[str]) -> List[System]:
    """The systems of these names, in this order.

    Raises:
        ValueError: there is no system of a name.
    """
    by_name = {system.name: system for system in benchmark.systems}
    if unknown := [name for name in systems if name not in by_name]:
        raise ValueError(f"systems must be of {', '.join(by_name)}, got {', '.join(unknown)}")
    return [by_name[name] for name in systems]


def check(benchmark: Benchmark) -> None:
    """Raise ValueError, naming it, for what is out of range."""
    check_names([system.name for system in benchmark.systems], benchmark.seeds)
    for system in benchmark.systems:
        if not (system.config or benchmark.config):
            raise ValueError(f"config must name detectron2's YAML: {system.name} has none")
        check_words(f"options of {system.name}", system.options)
    check_words("options", benchmark.options)
    if min(benchmark.seeds) < 0:
        raise ValueError(f"seeds must be 0 or more, got {min(benchmark.seeds)}")
    if benchmark.gpus is not None and benchmark.gpus < 1:
        raise ValueError(f"gpus must be 1 or more, or null for all, got {benchmark.gpus}")
    if benchmark.data.train.name == benchmark.data.test.name:
        raise ValueError(f"train and test of data must have two names, got {benchmark.data.train.name!r}")


def _build(values: Any, here: Path) -> Benchmark:
    missing = [name for name in ("systems", "seeds") if values[name] == MISSING]
    parts = [(f"{name} of data", values["data"][name]) for name in ("train", "test")]
    parts += [("a system", system) for system in values["systems"] if "systems" not in missing]
    missing += [f"{name} of {part}" for part, fields in parts for name in fields if fields[name] == MISSING]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    data = Data(**{**values["data"], "train": None, "test": None})
    for split in ("train", "test"):
        given = values["data"][split]
        absolute = {name: str(here / given[name]) for name in ("annotations", "images")}
        setattr(data, split, DataSet(name=given["name"], **absolute))
    systems = [System(**{**one, "config": _config(one["config"], here)}) for one in values["systems"]]
    weights = values["weights"]
    if weights and "://" not in weights:  # detectron2 fetches others itself
        weights = str(here / weights)
    more = {"config": _config(values["config"], here), "weights": weights}
    return Benchmark(**{**values, "data": data, "systems": systems, **more})


def _config(name: Optional[str], here: Path) -> Optional[str]:
    """Absolute path of a config, looked for beside the YAML file and among those of detectron2_heads."""
    if name is None:
        return None
    for folder in (here, SHIPPED):
        if (folder / name).is_file():
            return str(folder / name)
    shipped = ", ".join(sorted(path.name for path in SHIPPED.glob("*.yaml")))
    raise ValueError(f"config {name} does not exist in {here}, and is none of {shipped}")
