"""Encouraging loss and halted focal loss as plugins for fairseq and detectron2, and for torch itself.

As fairseq's ``--user-dir`` this package registers its criterion. Imported on its own it loads neither
host: it registers with whichever is already imported, at import and whenever a host asks for it again.
The losses are in :mod:`el_plugins.losses` and need torch alone.
"""

from el_plugins.registration import PluginPath, register

__version__ = "0.1.0"

__path__ = PluginPath(__path__)
register()
