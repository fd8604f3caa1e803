"""Loading checkpoints without running code from them.

Since torch 2.6 ``torch.load`` refuses every class it does not know (``weights_only=True``), and with it
fairseq's own checkpoints. The few harmless classes that fairseq stores are allow-listed here; the check
stays on for everything else. Older torch has no such list: there a restricted unpickler does the same for
:func:`load_checkpoint`.
"""

from __future__ import annotations

import collections
import pickle
import re
import sys
import typing
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from el_plugins.checkpoints import restricted

REFUSED = re.compile(r"GLOBAL (\S+)")  # in torch's words and in ours


def allow_fairseq_classes() -> None:
    """Allow what fairseq checkpoints hold: namespaces, OmegaConf containers and numpy values.

    numpy values come from ``--eval-bleu``'s counts. On torch older than 2.6 nothing is done: it has no list.
    """
    if _takes_names():
        torch.serialization.add_safe_globals(_harmless_classes())


def _harmless_classes() -> list[Any]:
    return [Namespace, *_numpy_classes(), *_omegaconf_classes(), *_fairseq_classes()]


def _takes_names() -> bool:
    # Only from 2.6 on does the list take (object, stored name) pairs, and only then is the check the default.
    return torch.__version__ >= (2, 6)  # type: ignore[operator]


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


def load_checkpoint(path: str | Path, *, unsafe: bool = False) -> Any:
    """Read a checkpoint to CPU memory, refusing any class but tensors and fairseq's harmless ones.

    Args:
        path: a file written by ``torch.save``: fairseq's, detectron2's or a plain state dict.
        unsafe: build whatever the file names, which can run any code: for files of your own.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is empty or truncated, is not a checkpoint, or carries a class that is not
            allowed; the message names the file and the reason.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        if unsafe:
            return torch.load(path, map_location="cpu", weights_only=False)
        if _is_torchscript(path):  # older torch would run it without asking
            raise pickle.UnpicklingError("GLOBAL torch.jit.ScriptModule")
        if _takes_names():
            allow_fairseq_classes()
            return torch.load(path, map_location="cpu", weights_only=True)
        restricted.allow(_harmless_classes())
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=restricted)
    except Exception as error:  # damaged files raise whatever the bytes lead to
        raise ValueError(f"cannot load checkpoint {path}: {_why(Path(path), error)}") from error


def _is_torchscript(path: str | Path) -> bool:
    """Whether ``torch.load`` would take the file for a program of TorchScript, which it then runs."""
    if not zipfile.is_zipfile(path):
        return False
    return "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records()


def _why(path: Path, error: Exception) -> str:
    """Why a file does not load; torch's own words advise to switch the check off, or are but a byte."""
    if not path.stat().st_size:
        return "it is empty"
    if refused := REFUSED.search(str(error)):
        return f"it carries {refused[1]}, which is no part of a checkpoint and may run code"
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        if not zipfile.is_zipfile(path):
            return "it is damaged or cut short"
    elif start[:1] != pickle.PROTO:
        return "it is no file of torch.save"
    words = str(error).rpartition("WeightsUnpickler error: ")[2].split("\n")[0]
    return f"it is damaged, or no file of torch.save: {type(error).__name__} {words}".rstrip()
