"""Seconds and peak memory of a step of a language model, into language_models.csv.

``python -m benchmarks.language_models FOLDER``: forward and backward of a small Llama with a vocabulary of
32,000, on a CPU, with the model's own loss, with encouraging loss from its whole logits, with
``use_encouraging_loss``, and by TRL's fused head. Liger's loss has no CPU path; ``make bench-gpu`` has it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measure import RESULTS, machine, peak_memory, write
from el_plugins.integrations.transformers import use_encouraging_loss
from el_plugins.losses import encouraging_loss
from el_plugins.utils.program import positive

VOCABULARY = 32_000
SIZES = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}


def own(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Cross-entropy, as transformers computes it."""
    return model(input_ids=ids, labels=ids).loss


def from_logits(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Encouraging loss as ``compute_loss_func`` has it."""
    logits = model(input_ids=ids).logits[:, :-1]
    return encouraging_loss(logits.reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1), log_end=0.5)


def fused(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Cross-entropy by TRL's chunked head."""
    return model(input_ids=ids, labels=ids, fused_lm_head=True).loss


def add_fused_head(model: LlamaForCausalLM) -> None:
    """TRL's head for :func:`fused`."""
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model)


PEERS: dict[str, tuple[Callable[..., Any] | None, Callable[..., Tensor]]] = {
    "cross-entropy, transformers": (None, own),
    "cross-entropy, TRL's fused head": (add_fused_head, fused),
    "EL of whole logits": (None, from_logits),
    "EL, use_encouraging_loss": (use_encouraging_loss, own),
}


def step(name: str, rows: int, length: int) -> Callable[[], None]:
    """A model with the peer's loss, and a call of forward and backward."""
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **SIZES)).train()
    prepare, loss = PEERS[name]
    if prepare is not None:
        prepare(model)
    ids = torch.randint(VOCABULARY, (rows, length))
    return lambda: loss(model, ids).backward()


def measure(name: str, rows: int, length: int) -> tuple[float, float]:
    """Seconds, and peak bytes of the first step, in a process that has freed nothing yet."""
    torch.manual_seed(0)
    call = step(name, rows, length)
    memory = peak_memory(call)
    started = time.perf_counter()
    call()
    return time.perf_counter() - started, memory


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language_models", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS, help="default: %(default)s")
    parser.add_argument("--rows", type=positive, default=8, help="sequences in the batch")
    parser.add_argument("--length", type=positive, default=256, help="tokens of each")
    parser.add_argument("--repeats", type=positive, default=3)
    options = parser.parse_args()
    turns = [(name, options.rows, options.length) for _ in range(options.repeats) for name in PEERS]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        measured = pool.starmap(measure, tqdm(turns, unit="step", disable=None), chunksize=1)
    lines: list[dict[str, Any]] = []
    for name in PEERS:
        runs = [figures for turn, figures in zip(turns, measured) if turn[0] == name]
        seconds, memory = (statistics.median(values) for values in zip(*runs))
        lines.append({"peer": name, "tokens": options.rows * options.length, "vocabulary": VOCABULARY})
        lines[-1] |= {"seconds": round(seconds, 3), "peak MiB": round(memory / 2**20), "machine": machine()}
    write(options.folder / "language_models.csv", lines)


if __name__ == "__main__":
    main()
