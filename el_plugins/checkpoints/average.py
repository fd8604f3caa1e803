"""Average the weights of several checkpoints into one: ``el-average-checkpoints``.

fairseq's script is not in its pip package, sums bf16 in bf16, keeps the optimizer state and chooses the wrong
checkpoints as best. This one reads fairseq, detectron2 and plain state-dict files, one at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from el_plugins.checkpoints.choose import best_checkpoints, last_checkpoints
from el_plugins.checkpoints.safe_loading import load_checkpoint
from el_plugins.utils.files import atomic_file
from el_plugins.utils.program import positive, program

try:
    from tqdm import tqdm
except ImportError:  # no progress bar without tqdm

    def tqdm(items, **_):
        """The items themselves."""
        return items


TRAINING_STATE = ("optimizer", "scheduler", "last_optimizer_state")


def average_checkpoints(paths: Sequence[str | Path], *, unsafe: bool = False) -> dict[str, Any]:
    """The checkpoint whose weights are the mean of those in ``paths``.

    Floating weights are summed in float64 (complex ones in complex128) and returned in their stored dtype;
    tensors that share memory in the last file share it in the result. Integer and boolean buffers
    (counters, positions) are the last file's. Everything else is the last file's too, without the
    optimizer's state.

    Args:
        paths: one or more files, oldest first; one is in memory at a time beside the running sum.
        unsafe: see :func:`load_checkpoint`.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: no file is given, or one is unreadable, has other keys, shapes or kinds of numbers than
            the first, or sparse or quantised weights; the message names it.
    """
    if not paths:
        raise ValueError("no checkpoints to average")
    sums: dict[str, Tensor] = {}
    for path in tqdm(paths, desc="averaging", unit="checkpoint", disable=None):
        checkpoint = load_checkpoint(path, unsafe=unsafe)
        weights = weights_of(checkpoint, path)
        if not sums:
            sums = {name: torch.zeros_like(value, dtype=wide(value)) for name, value in weights.items()}
        check_same_layout(sums, weights, path, paths[0])
        for name, value in weights.items():
            if is_averaged(value):
                sums[name] += value.to(wide(value))
    averaged: dict[tuple[object, ...], str] = {}
    for name, value in weights.items():
        if is_averaged(value):
            view = (value.untyped_storage().data_ptr(), value.storage_offset(), value.shape, value.stride())
            key = view if value.numel() else (name,)
            first = averaged.setdefault(key, name)
            if first != name and torch.equal(sums[first], sums[name]):  # tied in all files
                weights[name] = weights[first]
            else:
                weights[name] = (sums[name] / len(paths)).to(value.dtype)
    return without_training_state(checkpoint)


def weights_of(checkpoint: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict inside ``checkpoint``: under ``model`` (fairseq, detectron2) or the file itself."""
    weights = checkpoint.get("model", checkpoint) if isinstance(checkpoint, Mapping) else None
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path} holds no state dict: expected tensors by name, at the top or under 'model'")
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "quantised" if value.is_quantized else "meta" if value.is_meta else str(value.layout)
            raise ValueError(f"{path}: {name} is a {kind} tensor, but only dense weights can be averaged")
    return weights


def is_averaged(value: Tensor) -> bool:
    """Whether a tensor holds weights, and no counters or positions."""
    return value.is_floating_point() or value.is_complex()


def wide(value: Tensor) -> torch.dtype:
    """The dtype to sum ``value`` in; its own for what is not summed."""
    if not is_averaged(value):
        return value.dtype
    return torch.complex128 if value.is_complex() else torch.float64


def check_same_layout(
    expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: str | Path, first: str | Path
) -> None:
    """Raise ValueError unless both have the same names and shapes, and average the same tensors."""
    if different := sorted(expected.keys() ^ weights.keys()):
        raise ValueError(f"{path} and {first} differ in keys: {', '.join(different[:5])}")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(value.shape)}, in {first} {tuple(expected[name].shape)}"
            )
        if is_averaged(value) != is_averaged(expected[name]):
            raise ValueError(f"{path}: {name} is of {value.dtype}, in {first} it is no such kind of number")


def without_training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """``checkpoint`` without the optimizer's state; fairseq can still read it."""
    if "model" not in checkpoint:
        return checkpoint
    return {key: value for key, value in checkpoint.items() if key not in TRAINING_STATE}


def save_checkpoint(checkpoint: Any, output: Path) -> None:
    """``torch.save`` to ``output``, which is complete or absent; its folder is made if missing."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(output) as temporary, temporary.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:  # that of a full disk is hidden behind torch's own
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, named as fairseq's."""
    parser = argparse.ArgumentParser(prog="el-average-checkpoints", description=__doc__)
    parser.add_argument(
        "--inputs", nargs="+", required=True, help="checkpoint files, or one folder to choose from"
    )
    parser.add_argument("--output", required=True, type=Path, help="file to write (replaced if it exists)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--num-epoch-checkpoints", type=positive, metavar="N", help="the last N checkpointE.pt of the folder"
    )
    which.add_argument(
        "--num-update-checkpoints", type=positive, metavar="N", help="the last N checkpoint_E_U.pt"
    )
    which.add_argument(
        "--num-best-checkpoints",
        type=positive,
        metavar="N",
        help="the best N checkpoint.best_METRIC_VALUE.pt (of --keep-best-checkpoints); what is best "
        "follows the --maximize-best-checkpoint-metric they were trained with",
    )
    parser.add_argument(
        "--checkpoint-upper-bound",
        type=positive,
        metavar="B",
        help="leave out epochs (or updates) after B",
    )
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="load whatever classes the files carry, which can run any code: for files of your own",
    )
    options = parser.parse_args(arguments)
    chosen = options.num_epoch_checkpoints or options.num_update_checkpoints or options.num_best_checkpoints
    if chosen and (len(options.inputs) != 1 or not Path(options.inputs[0]).is_dir()):
        parser.error(
            f"--num-...-checkpoints chooses from one folder, got --inputs {' '.join(options.inputs)}"
        )
    if options.checkpoint_upper_bound and not (
        options.num_epoch_checkpoints or options.num_update_checkpoints
    ):
        parser.error("--checkpoint-upper-bound needs --num-epoch-checkpoints or --num-update-checkpoints")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-average-checkpoints``."""
    options = parse_arguments(arguments)
    with program("el-average-checkpoints"):
        folder = Path(options.inputs[0])
        if options.num_best_checkpoints:
            paths = best_checkpoints(folder, options.num_best_checkpoints, unsafe=options.unsafe)
        elif options.num_epoch_checkpoints or options.num_update_checkpoints:
            paths = last_checkpoints(
                folder,
                options.num_epoch_checkpoints or options.num_update_checkpoints,
                by_update=options.num_update_checkpoints is not None,
                upper_bound=options.checkpoint_upper_bound,
            )
        else:
            paths = [Path(path) for path in options.inputs]
        print("averaging", *paths, sep="\n  ")
        save_checkpoint(average_checkpoints(paths, unsafe=options.unsafe), options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
