"""Loading checkpoints without running code from them.

Since torch 2.6 ``torch.load`` refuses every class it does not know (``weights_only=True``), and with it
fairseq's own checkpoints. The few harmless classes that fairseq stores are allow-listed here; the check
stays on for everything else.
"""

from __future__ import annotations

import collections
import sys
import typing
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch


def allow_fairseq_classes() -> None:
    """Allow what fairseq checkpoints hold: namespaces, OmegaConf containers and numpy values.

    numpy values come from ``--eval-bleu``'s counts. Older torch has no list to extend; nothing is done.
    """
    allow = getattr(torch.serialization, "add_safe_globals", None)
    if allow is not None and _takes_names():
        allow([Namespace, *_numpy_classes(), *_omegaconf_classes(), *_fairseq_classes()])


def _takes_names() -> bool:
    # Only from 2.6 on does the list take (object, stored name) pairs, and only then is the check the default.
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 6)


def _numpy_classes() -> list[Any]:
    try:
        import numpy as np
    except ImportError:
        return []
    # The two functions moved in numpy 2; checkpoints carry the name of the numpy that wrote them.
    stored = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, function in stored.items()
    ]
    numbers = [type(np.dtype(kind)) for kind in (np.int32, np.int64, np.float32, np.float64)]
    return [np.ndarray, np.dtype, *functions, *numbers]


def _omegaconf_classes() -> list[Any]:
    try:
        from omegaconf import DictConfig, ListConfig, base, nodes
    except ImportError:
        return []
    containers = [DictConfig, ListConfig, base.ContainerMetadata, base.Metadata]
    values = [
        nodes.AnyNode,
        nodes.BooleanNode,
        nodes.FloatNode,
        nodes.IntegerNode,
        nodes.StringNode,
    ]
    return [*containers, *values, typing.Any, collections.defaultdict, dict, list, int, float, str, bool]


def _fairseq_classes() -> list[Any]:
    # Stands for a tensor where fairseq sends a checkpoint from its first process to the others.
    if "fairseq" not in sys.modules:
        return []
    from fairseq.distributed.utils import _TensorPlaceholder

    return [_TensorPlaceholder]


def load_checkpoint(path: str | Path) -> Any:
    """Read a checkpoint to CPU memory, refusing any class but tensors and fairseq's harmless ones.

    Args:
        path: a file written by ``torch.save``: fairseq's, detectron2's or a plain state dict.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, is not a checkpoint, or carries a class that is not allowed;
            the message names the file.
    """
    allow_fairseq_classes()
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=_takes_names())
    except Exception as error:
        raise ValueError(f"cannot load checkpoint {path}: {error}") from error
