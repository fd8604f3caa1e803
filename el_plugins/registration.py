"""Registration with the frameworks that are already loaded."""

from __future__ import annotations

import importlib
import os
import sys

ADAPTERS = {"fairseq": "fairseq_criterions", "detectron2": "detectron2_heads"}


def register() -> None:
    """Import the adapter of every host that is already imported; a second call does nothing.

    Raises:
        ImportError: an adapter cannot be imported; the message says which and why.
    """
    for host, adapter in ADAPTERS.items():
        if host not in sys.modules:
            continue
        try:
            importlib.import_module(adapter)
        except Exception as error:
            if "fairseq" in sys.modules:
                forget_user_dir()
            raise ImportError(
                f"el_plugins cannot register with {host}: importing {adapter}: {error}"
            ) from error


def forget_user_dir() -> None:
    """Let fairseq try ``--user-dir`` again: it remembers a failed import and then passes over it."""
    utils = getattr(sys.modules["fairseq"], "utils", None)
    import_user_module = getattr(utils, "import_user_module", None)
    here = os.path.dirname(__file__)
    memo: set[str] = getattr(import_user_module, "memo", set())
    memo.difference_update([path for path in memo if os.path.exists(path) and os.path.samefile(path, here)])


class PluginPath(list):
    """The package's ``__path__``, which knows its directory under every spelling.

    When ``--user-dir`` names a package that was imported before, fairseq looks for the path it has
    resolved (for the plain words ``el_plugins`` ``.../fairseq/../el_plugins``) in ``__path__`` and
    registers nothing. This one compares directories instead of strings and then registers, so the
    order in which fairseq and the plugin are imported does not matter.
    """

    def __contains__(self, path: object) -> bool:
        is_ours = isinstance(path, str) and any(
            os.path.exists(path) and os.path.samefile(path, entry) for entry in self
        )
        if is_ours:
            register()
        return is_ours
