#!/usr/bin/env bash
# Make detectron2 importable without compiling it: run_scripts/install_detectron2.sh [PYTHON [WHEEL]]
#
# Does nothing where it already is. detectron2 has no release of its own on PyPI; where you can build it, follow its
# INSTALL.md instead. This unpacks the Python part of the wheel sal-detectron2 (a build of detectron2's main branch
# tagged for Python 3.10; WHEEL is a file to take instead of downloading it) into the environment of PYTHON, whole or
# not at all. What it needs beside comes first, with pip install 'el_plugins[detectron2]'. RetinaNet, FCOS, Faster
# R-CNN, training and COCO evaluation need none of its compiled operators, which stay behind.
set -euo pipefail

python=${1:-python}
wheel=${2:-}
requirement=sal-detectron2==0.7.2
sha256=491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561 # as first downloaded

die() { echo "install_detectron2: $*" >&2; exit 1; }
has() { "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)' "$1"; }

if has detectron2; then
    reason=$("$python" -W ignore -c 'import detectron2.modeling' 2>&1) && exit 0
    die "detectron2 is installed but cannot be imported: ${reason##*$'\n'}
Install what it lacks (pip install 'el_plugins[detectron2]'), or remove it and start again"
fi
missing=()
for module in numpy PIL torch torchvision fvcore iopath pycocotools yacs tabulate cloudpickle termcolor omegaconf \
    hydra matplotlib packaging; do
    has "$module" || missing+=("$module")
done
((${#missing[@]} == 0)) || die "detectron2 needs ${missing[*]}: first pip install 'el_plugins[detectron2]'"

download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
if [[ -z $wheel ]]; then
    echo "$requirement --hash=sha256:$sha256" >"$download/requirements.txt"
    "$python" -m pip download --progress-bar off --no-deps --only-binary=:all: --python-version 3.10 \
        --dest "$download" --requirement "$download/requirements.txt" \
        || die "cannot download $requirement; give its wheel as second argument"
    wheel=("$download"/*.whl)
fi
"$python" -W ignore - "${wheel[0]}" <<'PYTHON' || die "nothing was installed"
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

packages = pathlib.Path(sysconfig.get_path("purelib"))
unpacked = packages / ".detectron2.unpacking"  # on the same file system, so that moving is one step
shutil.rmtree(unpacked, ignore_errors=True)  # of an installation that was killed
try:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        # The wheel also has a top-level package "tools", and operators compiled for Python 3.10 alone.
        wanted = [name for name in wheel.namelist() if not name.startswith("tools/") and not name.endswith(".so")]
        wheel.extractall(unpacked, wanted)
    # Imported before it is moved into place.
    code = "import sys; sys.path.insert(0, sys.argv[1]); import detectron2.modeling"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(unpacked)], check=True)
    # The package itself last: where it is, the installation is whole.
    for folder in sorted(unpacked.iterdir(), key=lambda folder: folder.name == "detectron2"):
        shutil.rmtree(packages / folder.name, ignore_errors=True)
        folder.rename(packages / folder.name)
except (OSError, zipfile.BadZipFile, subprocess.CalledProcessError) as error:
    sys.exit(f"{sys.argv[1]}: {error}")
finally:
    shutil.rmtree(unpacked, ignore_errors=True)
PYTHON
"$python" -W ignore -c 'import detectron2.modeling as m; print("detectron2 is in", m.__path__[0])'
