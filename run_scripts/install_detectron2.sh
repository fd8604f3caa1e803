#!/usr/bin/env bash
# Make detectron2 importable without compiling it: run_scripts/install_detectron2.sh [PYTHON]
#
# Does nothing where it already is. detectron2 has no release of its own on PyPI; where you can build it, follow its
# INSTALL.md instead. This unpacks the Python part of the wheel sal-detectron2 (a build of detectron2's main branch
# tagged for Python 3.10) into the environment of PYTHON; what it needs beside comes with
# pip install 'el_plugins[detectron2]'. RetinaNet, FCOS, Faster R-CNN, training and COCO evaluation need none of its
# compiled operators, which stay behind.
set -euo pipefail

python=${1:-python}
wheel=sal-detectron2==0.7.2

if "$python" -c 'import detectron2' 2>/dev/null; then
    exit 0
fi
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
"$python" -m pip download --progress-bar off --no-deps --only-binary=:all: --python-version 3.10 \
    --dest "$download" "$wheel"
"$python" - "$download"/*.whl <<'PYTHON'
import pathlib
import sys
import sysconfig
import tempfile
import zipfile

packages = pathlib.Path(sysconfig.get_path("purelib"))
with zipfile.ZipFile(sys.argv[1]) as wheel, tempfile.TemporaryDirectory(dir=packages) as unpacked:
    # The wheel also has a top-level package "tools", and operators compiled for Python 3.10 alone.
    wanted = [name for name in wheel.namelist() if not name.startswith("tools/") and not name.endswith(".so")]
    wheel.extractall(unpacked, wanted)
    for folder in pathlib.Path(unpacked).iterdir():
        folder.rename(packages / folder.name)
PYTHON
"$python" -W ignore -c 'import detectron2.modeling as m; print("detectron2 is in", m.__path__[0])'
