"""Results of benchmarks that were never run."""

import tempfile
from pathlib import Path

import numpy as np

from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.settings import Benchmark, Data, System
from el_plugins.nmt.benchmark.statistics import METRICS

# Tests over sentences take seconds; the same sentences are tested once.
CACHE = tempfile.TemporaryDirectory()


def settings(systems, seeds, subsets=("test",), **data):
    """Settings of ``systems``, the first being the baseline."""
    values = {"folder": "bin", "source": "de", "target": "en", "detokenizer": None, **data}
    references = values.pop("references", None) or {subset: f"{subset}.en" for subset in subsets}
    return Benchmark(
        data=Data(references=references, **values),
        train="--lr 1",
        systems=[System(name, "encouraging_ls") for name in systems],
        seeds=list(seeds),
        average=3,
    )


def row(system, seed, bleu, checkpoint="averaged", subset="test"):
    """A row of scores; TER is the opposite of the others."""
    figures = {"brevity_penalty": 0.98, "length_ratio": 0.97}
    scores = {metric: {"score": 100 - bleu if metric == "ter" else bleu} for metric in METRICS}
    scores = {metric: {**score, "signature": "nrefs:1", **figures} for metric, score in scores.items()}
    place = {"system": system, "seed": seed, "checkpoint": checkpoint, "subset": subset}
    return {**place, "length_penalty": None, **scores}


def run(seed=0, end=20):
    """What a run leaves beside its scores."""
    generator = np.random.default_rng(seed)
    tokens = {
        "log_p": -generator.exponential(size=50),
        "margin": generator.normal(size=50),
        "energy": generator.normal(size=50),
    }
    return {
        "curve": {str(update): {"valid_nll_loss": str(9 - update / 20)} for update in range(10, end + 1, 10)},
        "training": {"minutes": 2.0, "words_per_second": 3000.0, "memory_gib": 1.25},
        "versions": {"torch": "2"},
        "commands": ["fairseq-train data"],
        "tokens": tokens,
    }


def results(bleu, diverged=None):
    """Results on one test set of BLEU by system, a value a seed from 1; None where that run diverged."""
    seeds = range(1, 1 + max(map(len, bleu.values())))
    runs = {
        (name, seed): value for name, values in bleu.items() for seed, value in enumerate(values, start=1)
    }
    rows = [
        {"system": name, "seed": seed, "diverged": diverged} if value is None else row(name, seed, value)
        for (name, seed), value in runs.items()
    ]
    references = [f"the {word} sat on the mat near the {word}" for word in ("cat", "dog", "hen", "fox")]
    texts = {name: [line.replace("cat", name) for line in references] for name in bleu}
    return Results(
        "made up",
        settings(bleu, seeds),
        rows,
        runs={f"{name}/seed{seed}": run(seed) for name, seed in runs},
        translations={
            (name, seed, "averaged", "test"): list(texts[name])
            for (name, seed), value in runs.items()
            if value is not None
        },
        sources={"test": [f"Quelle {number}" for number in range(4)]},
        references={"test": references},
        cache=Path(CACHE.name),
    )
