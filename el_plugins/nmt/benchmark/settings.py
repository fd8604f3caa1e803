"""The benchmark's YAML file: data, shared training arguments, systems, seeds and what is scored."""

# No postponed annotations here: OmegaConf reads the fields' types as types.
import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from el_plugins.nmt.recipe import DETOKENIZERS
from el_plugins.utils.commands import check_words
from el_plugins.utils.runs import check_names

POOLED = "pooled"  # all test subsets as one, in results


@dataclass
class Data:
    """A binarised corpus and how its translations become plain text."""

    folder: str = MISSING  # output of fairseq-preprocess
    source: str = MISSING
    target: str = MISSING
    references: Dict[str, str] = MISSING  # plain-text file by test subset (test, test1, ...)
    remove_bpe: str = "@@ "  # fairseq's --remove-bpe: "@@ ", sentencepiece, ...
    detokenizer: Optional[str] = "moses"  # null if the text was never tokenised
    prepare: Optional[str] = None  # shell command that makes the folder if it is missing


@dataclass
class System:
    """One row of the comparison: a criterion and its own arguments."""

    name: str = MISSING
    criterion: str = MISSING
    arguments: str = ""  # of fairseq-train; they override the shared ones


@dataclass
class Launch:
    """How many processes train one run together."""

    processes: int = 1  # per node; one per GPU
    nodes: int = 1

    def world_size(self) -> int:
        """Number of processes on all nodes."""
        return self.processes * self.nodes


@dataclass
class Benchmark:
    """Everything that determines the results, and where to run it."""

    data: Data = field(default_factory=Data)
    train: str = MISSING  # arguments of fairseq-train shared by all systems
    systems: List[System] = MISSING  # the first is the baseline
    seeds: List[int] = MISSING
    average: int = 10  # number of last epoch checkpoints to average
    generate: str = "--beam 5 --batch-size 128"
    length_penalties: List[float] = field(default_factory=list)  # the best on the validation set is chosen
    launch: Launch = field(default_factory=Launch)
    # processes x nodes x --max-tokens x --update-freq; --update-freq is set to match unless it is given.
    tokens_per_update: Optional[int] = None
    cluster: Dict[str, Any] = field(default_factory=dict)  # submitit's parameters: slurm_partition, ...
    output: Optional[str] = None  # default: outputs/NAME of the file

    def training_settings(self, system: System, seed: int) -> Dict[str, Any]:
        """What a trained model depends on beside the corpus; recorded with it, and never mixed."""
        return {
            "source": self.data.source,
            "target": self.data.target,
            "train": self.train,
            "average": self.average,
            "name": system.name,
            "criterion": system.criterion,
            "arguments": system.arguments,
            "world_size": self.launch.world_size(),
            "seed": seed,
        }


def read_settings(
    path: Path, *, systems: Sequence[str] = (), seeds: Sequence[int] = (), **changes: Any
) -> Benchmark:
    """:func:`read_whole` of ``path``, and of that what :func:`select` takes."""
    return select(read_whole(path, seeds=seeds, **changes), systems, seeds)


def select(benchmark: Benchmark, systems: Sequence[str] = (), seeds: Sequence[int] = ()) -> Benchmark:
    """``benchmark`` with the systems of these names and with these seeds only; all where none is named.

    Raises:
        ValueError: there is no system of a name, or a seed is out of range or named twice.
    """
    names = [system.name for system in benchmark.systems]
    if unknown := [name for name in systems if name not in names]:
        raise ValueError(f"systems to run must be of {', '.join(names)}, got {', '.join(unknown)}")
    chosen = [one for one in benchmark.systems if not systems or one.name in systems]
    selected = replace(benchmark, systems=chosen, seeds=list(seeds) or benchmark.seeds)
    _check(selected)
    return selected


def read_whole(
    path: Path,
    *,
    output: Optional[Path] = None,
    seeds: Sequence[int] = (),
    launch: Optional[Dict[str, int]] = None,
    arguments: Sequence[str] = (),
) -> Benchmark:
    """The benchmark that ``path`` describes, with absolute paths: relative ones start from its own folder.

    Args:
        output: instead of the file's; ``${output}`` in its other values means it.
        seeds: beside the file's.
        launch: values instead of the file's.
        arguments: of fairseq-train, appended to every system's, so that they override all others.

    Raises:
        ValueError: the file is not YAML, or a value is missing, unknown or out of range (named).
    """
    here = path.resolve().parent
    try:
        given = OmegaConf.create(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        changes: Dict[str, Any] = {"launch": launch or {}}
        if output is not None:
            changes["output"] = str(output.resolve())
        if seeds:
            changes["seeds"] = list(dict.fromkeys([*(given.get("seeds") or []), *seeds]))
        merged = OmegaConf.merge(OmegaConf.structured(Benchmark), given, changes)
        benchmark = _build(OmegaConf.to_container(merged, resolve=True), here)
        _check(benchmark)
    except (yaml.YAMLError, OmegaConfBaseException, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    for system in benchmark.systems:
        system.arguments = " ".join(filter(None, [system.arguments, shlex.join(arguments)]))
    benchmark.output = str(here / (benchmark.output or Path.cwd() / "outputs" / path.stem))
    for what, folder in (("output", benchmark.output), ("folder of data", benchmark.data.folder)):
        if os.pathsep in folder:
            raise ValueError(f"{what} must have no {os.pathsep!r}, where fairseq splits paths, got {folder}")
    return benchmark


def _build(values: Any, here: Path) -> Benchmark:
    missing = [name for name, value in values.items() if value == MISSING]
    parts = [("data", values["data"])] + [
        ("a system", s) for s in values["systems"] if "systems" not in missing
    ]
    missing += [f"{name} of {part}" for part, fields in parts for name in fields if fields[name] == MISSING]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    data = Data(**values["data"])
    data.folder = str(here / data.folder)
    data.references = {subset: str(here / file) for subset, file in data.references.items()}
    built = {
        "data": data,
        "systems": [System(**s) for s in values["systems"]],
        "launch": Launch(**values["launch"]),
    }
    return Benchmark(**{**values, **built})


def _check(benchmark: Benchmark) -> None:
    check_names([system.name for system in benchmark.systems], benchmark.seeds)
    launch, tokens = benchmark.launch, benchmark.tokens_per_update
    for what, number in [
        ("seeds", min(benchmark.seeds)),
        ("average", benchmark.average),
        ("processes of launch", launch.processes),
        ("nodes of launch", launch.nodes),
        ("tokens_per_update", 1 if tokens is None else tokens),
    ]:
        if number < 1:
            raise ValueError(f"{what} must be 1 or more, got {number}")
    for what, words in [
        ("train", benchmark.train),
        ("generate", benchmark.generate),
        *((f"arguments of {system.name}", system.arguments) for system in benchmark.systems),
    ]:
        check_words(what, words)
    if not benchmark.data.references:
        raise ValueError("references of data must name a plain-text file for each test subset")
    if POOLED in benchmark.data.references:
        raise ValueError(f"no test subset may be called {POOLED!r}: results use it for all of them together")
    if benchmark.data.detokenizer not in (*DETOKENIZERS, None):
        allowed = ", ".join(DETOKENIZERS)
        raise ValueError(f"detokenizer of data must be null or {allowed}, got {benchmark.data.detokenizer!r}")
