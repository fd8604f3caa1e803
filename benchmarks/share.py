"""How much of a training step is the loss, into share.csv: python -m benchmarks.share FOLDER.

The demo's model on batches of the demo's corpus: a step is forward, loss and backward; the loss alone is its
forward and backward from logits that are there. Criteria and parts take turns.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from fairseq import options as fairseq_options
from fairseq import tasks

from benchmarks.measure import RESULTS, compare, write
from benchmarks.training import DEMO, demo_arguments
from el_plugins.nmt.benchmark.corpus import prepare
from el_plugins.nmt.benchmark.settings import read_settings
from el_plugins.nmt.benchmark.training import PLUGIN
from el_plugins.utils.program import positive

BATCHES = 10
CRITERIA = {"fairseq LS-CE": "label_smoothed_cross_entropy", "EL": "encouraging_ls"}


def load(criterion: str, data: str) -> tuple[Any, Any, list[Any]]:
    """The demo's model, ``criterion``, and the first batches of the training set."""
    words = [data, "--user-dir", str(PLUGIN), "--criterion", criterion, "--cpu"]
    words += demo_arguments()
    parser = fairseq_options.get_training_parser()
    settings = fairseq_options.parse_args_and_arch(parser, input_args=words)
    task = tasks.setup_task(settings)
    task.load_dataset("train")
    batches = task.get_batch_iterator(task.dataset("train"), max_tokens=settings.max_tokens, seed=1)
    first_batches = list(islice(batches.next_epoch_itr(shuffle=True), BATCHES))
    return task.build_model(settings), task.build_criterion(settings), first_batches


def step(model: Any, criterion: Any, batches: list[Any]) -> Callable[[], None]:
    """A pass over ``batches``, with the model."""

    def call() -> None:
        for batch in batches:
            model.zero_grad()
            criterion(model, batch)[0].backward()

    return call


def loss_alone(model: Any, criterion: Any, batches: list[Any]) -> Callable[[], None]:
    """A pass over ``batches`` from logits that are there already."""
    with torch.no_grad():
        outputs = [model(**batch["net_input"])[0] for batch in batches]

    def call() -> None:
        for logits, batch in zip(outputs, batches):
            # No leaf, as in a model: the criterion may work in place.
            output = logits.clone().requires_grad_().view(logits.shape)
            criterion.compute_loss(model, (output, None), batch)[0].backward()

    return call


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.share", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS, help="default: %(default)s")
    parser.add_argument("--repeats", type=positive, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    demo = read_settings(DEMO)
    prepare(demo.data, DEMO.parent)
    peers: dict[str, Callable[[], Callable[[], Any]]] = {}
    for name, criterion in CRITERIA.items():
        parts = load(criterion, demo.data.folder)
        peers[f"{name}, step"] = functools.partial(step, *parts)
        peers[f"{name}, loss alone"] = functools.partial(loss_alone, *parts)
    measured = compare(peers, options.repeats)
    lines = []
    for name in CRITERIA:
        whole, loss = (measured[f"{name}, {part}"]["seconds"] / BATCHES for part in ("step", "loss alone"))
        lines.append({"criterion": name, "ms a step": f"{1000 * whole:.0f}"})
        lines[-1] |= {"ms of the loss": f"{1000 * loss:.1f}", "share of the loss": f"{loss / whole:.3f}"}
    write(options.folder / "share.csv", lines)
    print((options.folder / "share.csv").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
