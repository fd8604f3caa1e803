"""The environments that users have, each from nothing: ``make matrix``, or ``nox -s core`` for one of them.

The suite that applies runs against the wheel, in a copy of the checkout without the packages. What came out
stands in outputs/matrix, one line for each environment, as the documentation has it.
"""

from __future__ import annotations

import datetime
import glob
import os
import re
import shutil
from pathlib import Path

import nox

HERE = Path(__file__).parent
PACKAGES = ("el_plugins", "fairseq_criterions", "detectron2_heads")
# These read the sources, which the wheel has elsewhere.
NOT_OUTSIDE = ("tests/test_architecture.py", "tests/docs", "tests/examples/test_runs.py")
CORE = ("tests/losses", "tests/checkpoints", "tests/utils", "tests/test_metrics.py")
EVERYTHING = "fairseq,nmt,detectron2,examples,integrations,studies,test"

nox.options.sessions = ["newest", "current", "classic", "classic_detectron2", "core"]
nox.options.reuse_existing_virtualenvs = False
# Found after everything else: pyenv's own commands are shims that need configuring.
os.environ["PATH"] = os.pathsep.join(
    [os.environ["PATH"], *glob.glob(str(Path.home() / ".pyenv/versions/*/bin"))]
)


def outside(session: nox.Session) -> Path:
    """The checkout as it is now, copied."""
    folder = Path(session.create_tmp()).resolve() / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    files = session.run("git", "-C", str(HERE), "ls-files", "-z", silent=True, external=True, log=False) or ""
    for name in filter(None, str(files).split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / name, folder / name)
    return folder


def wheel(session: nox.Session) -> Path:
    """The wheel of a copy of the checkout, which is left without the packages."""
    folder = outside(session)
    session.run(*f"python -m pip wheel --quiet --no-deps --wheel-dir {folder / 'dist'} {folder}".split())
    for name in (*PACKAGES, "build"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return next((folder / "dist").glob("el_plugins-*.whl"))


def check(session: nox.Session, *tests: str, packages: tuple[str, ...] = ()) -> None:
    """Run ``tests`` outside the checkout and record the result beside the releases of ``packages``."""
    folder = Path(session.create_tmp()).resolve() / "outside"
    session.chdir(folder)
    ignored = [f"--ignore={path}" for path in NOT_OUTSIDE]
    log = folder / "pytest.log"
    with log.open("w") as file:
        session.run(
            *(
                "python",
                "-m",
                "pytest",
                "-q",
                "-m",
                "not long and not trust",
                *ignored,
                *tests,
                *session.posargs,
            ),
            stdout=file,
            env={"OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
            success_codes=[0, 1],
        )
    summary = log.read_text().rstrip().splitlines()[-1]
    code = (
        "import platform, importlib.metadata as m, sys; "
        "print(platform.python_version(), *(f'{p} {m.version(p)}' for p in sys.argv[1:]), sep=' | ')"
    )
    releases = str(session.run("python", "-c", code, "torch", *packages, silent=True)).strip()
    counts = re.sub(r" in [\d.]+s.*|=+ ?", "", summary)
    line = f"| {session.name} | {releases} | {counts} | {datetime.date.today()} |"
    record = HERE / "outputs" / "matrix" / f"{session.name}.md"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(line + "\n")
    session.log(line)
    if re.search(r"\d+ (failed|error)", summary):
        session.error(f"{summary}: see {log}")


def with_both_hosts(session: nox.Session, *torch: str) -> None:
    """ve-fairseq and detectron2's wheel in one environment, and the whole suite."""
    session.install(*torch, f"{wheel(session)}[{EVERYTHING}]")
    session.run("bash", "run_scripts/install_detectron2.sh", "python", external=True)
    check(session, packages=("ve-fairseq", "sal-detectron2", "numpy"))


@nox.session(python="3.12")
def newest(session: nox.Session) -> None:
    """Python 3.12, the newest torch with a matching torchvision, ve-fairseq, detectron2."""
    with_both_hosts(session, "torch", "torchvision")


@nox.session(python="3.11")
def current(session: nox.Session) -> None:
    """Python 3.11, the torch that make installs, ve-fairseq, detectron2."""
    with_both_hosts(session, "torch==2.14.1", "torchvision==0.29.1")


@nox.session(python="3.10")
def classic(session: nox.Session) -> None:
    """Python 3.10, torch 2.2.2, numpy 1, official fairseq 0.12.2."""
    session.install("pip<24.1", "setuptools>=77,<81", "wheel")
    session.install("torch==2.2.2", "numpy<2", f"{wheel(session)}[fairseq,nmt,test]")
    check(session, packages=("fairseq", "numpy"))


@nox.session(python="3.10")
def classic_detectron2(session: nox.Session) -> None:
    """Python 3.10, torch 2.2.2, numpy 1, detectron2 in an environment of its own."""
    session.install("torch==2.2.2", "torchvision==0.17.2", "numpy<2", f"{wheel(session)}[detectron2,test]")
    session.run("bash", "run_scripts/install_detectron2.sh", "python", external=True)
    check(session, "tests/detectron2_heads", "tests/detection", packages=("numpy",))


@nox.session(python="3.13")
def core(session: nox.Session) -> None:
    """Python 3.13, the newest torch and nothing else: the losses, checkpoints and measures."""
    session.install("torch", f"{wheel(session)}[test]")
    check(session, *CORE)
