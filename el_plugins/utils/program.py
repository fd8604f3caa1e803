"""What all commands share: counts as arguments, errors of one line, and an orderly end on a signal."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def program(name: str, stopped: str = "stopped", extra: str = "") -> Iterator[None]:
    """Run a command's work; what it raises for its user becomes ``name: reason`` and exit status 1.

    SIGTERM stops it as Ctrl-C does, so that temporary files are removed and children are ended; Ctrl-C
    does so even if a shell started it with that ignored. While it stops, further signals change nothing.

    Args:
        name: of the command.
        stopped: what to say when a signal stops it.
        extra: of the package, which installs what the work imports.

    Raises:
        SystemExit: it was stopped, a module of ``extra`` is missing, or the work raised OSError, RuntimeError
            or ValueError.
    """
    before = {number: signal.signal(number, _stop) for number in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(f"\n{name}: {stopped}") from None
    except ModuleNotFoundError as error:
        _restore(before)
        if not extra:
            raise
        raise SystemExit(
            f"{name}: {error.name} is not installed: pip install 'el_plugins[{extra}]'"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        _restore(before)
        raise SystemExit(f"{name}: {reason(error)}") from error
    else:
        _restore(before)


def positive(text: str) -> int:
    """An argument that counts something, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


def reason(error: BaseException) -> str:
    """What went wrong, in the words of a message; of the system's errors the file and why."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _stop(number: int, frame: object) -> None:
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
