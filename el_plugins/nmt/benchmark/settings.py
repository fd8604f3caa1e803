"""The benchmark's YAML file: data, shared training arguments, systems, seeds and what is scored."""

# No postponed annotations here: OmegaConf reads the fields' types as types.
import hashlib
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from el_plugins.nmt.scoring import DETOKENIZERS

NAME = re.compile(r"\w[\w.+-]*")
# Settings of one of these decide what the results of a run are; the others, where and how it runs.
DECIDING = ("train", "average", "generate", "length_penalties")
DECIDING_OF_DATA = ("source", "target", "remove_bpe", "detokenizer")
POOLED = "pooled"  # all test subsets as one, in results


@dataclass
class Data:
    """A binarised corpus and how its translations become plain text."""

    folder: str = MISSING  # what fairseq-preprocess wrote
    source: str = MISSING
    target: str = MISSING
    references: Dict[str, str] = MISSING  # file of plain text by test subset (test, test1, ...)
    remove_bpe: str = "@@ "  # fairseq's --remove-bpe: "@@ ", sentencepiece, ...
    detokenizer: Optional[str] = "moses"  # null where the text was never tokenised
    prepare: Optional[str] = None  # shell command that makes the folder where it is missing

    def digest(self) -> str:
        """SHA-256 of the binarised corpus and the references."""
        folder = Path(self.folder)
        # fairseq finds a corpus of either direction.
        pairs = (f"{self.source}-{self.target}", f"{self.target}-{self.source}")
        files = [path for pair in pairs for path in sorted(folder.glob(f"*.{pair}.*"))]
        files += sorted(folder.glob("dict.*"))
        whole = hashlib.sha256()
        for path in [*files, *map(Path, self.references.values())]:
            whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return whole.hexdigest()


@dataclass
class System:
    """One column of the comparison: a criterion and the arguments that are its own."""

    name: str = MISSING
    criterion: str = MISSING
    arguments: str = ""  # of fairseq-train; they win over the shared ones


@dataclass
class Benchmark:
    """Everything that decides the results, and where to run it."""

    data: Data = field(default_factory=Data)
    train: str = MISSING  # arguments of fairseq-train that all systems share
    systems: List[System] = MISSING  # the first is the baseline
    seeds: List[int] = MISSING
    average: int = 10  # last epoch checkpoints
    generate: str = "--beam 5 --batch-size 128"
    length_penalties: List[float] = field(default_factory=list)  # the best on the validation set is chosen
    cluster: Dict[str, Any] = field(default_factory=dict)  # submitit's parameters: slurm_partition, ...

    def fingerprint(self, system: System, seed: int) -> Dict[str, Any]:
        """What the results of a run depend on, to be kept beside them."""
        return {
            "corpus": self.data.digest(),
            **{name: getattr(self.data, name) for name in DECIDING_OF_DATA},
            "subsets": sorted(self.data.references),
            **{name: getattr(self, name) for name in DECIDING},
            **asdict(system),
            "seed": seed,
        }


def read_settings(path: Path) -> Benchmark:
    """The benchmark that ``path`` describes, its paths absolute: relative ones start from its own folder.

    Raises:
        ValueError: it is no YAML, or a value is missing, unknown or out of range; the message names it.
    """
    try:
        given = OmegaConf.create(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        merged = OmegaConf.merge(OmegaConf.structured(Benchmark), given)
        values = OmegaConf.to_container(merged, resolve=True)
        benchmark = _build(values, path.resolve().parent)
        _check(benchmark)
    except (yaml.YAMLError, OmegaConfBaseException, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
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
    return Benchmark(**{**values, "data": data, "systems": [System(**s) for s in values["systems"]]})


def _check(benchmark: Benchmark) -> None:
    names = [system.name for system in benchmark.systems]
    for what, entries in (("systems", names), ("seeds", benchmark.seeds)):
        if not entries or len(set(entries)) < len(entries):
            raise ValueError(f"{what} must be one or more, all different, got {entries}")
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"a system's name becomes a folder's: letters, digits, . + - _, got {name!r}")
    for what, number in [("seeds", min(benchmark.seeds)), ("average", benchmark.average)]:
        if number < 1:
            raise ValueError(f"{what} must be 1 or more, got {number}")
    if not benchmark.data.references:
        raise ValueError("references of data must name a file of plain text for each test subset")
    if POOLED in benchmark.data.references:
        raise ValueError(
            f"no test subset of data may be called {POOLED!r}: results call all of them together so"
        )
    if benchmark.data.detokenizer not in (*DETOKENIZERS, None):
        allowed = ", ".join(DETOKENIZERS)
        raise ValueError(f"detokenizer of data must be null or {allowed}, got {benchmark.data.detokenizer!r}")
