"""``python -m el_plugins`` prints the absolute path to give to fairseq's ``--user-dir``."""

import os

import el_plugins

print(os.path.dirname(os.path.abspath(el_plugins.__file__)))
