"""How the package presents itself: to torch alone, to fairseq by path and by name, twice, in any order."""

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from el_plugins import registration
from tests.commands import PLUGIN, REPOSITORY, TINY_MODEL, TRAINING
from tests.marks import long


def python(script, *path, cwd=None, check=True):
    """Run ``script`` with only ``path`` added to this environment's packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


IMPORT = "from argparse import Namespace; import fairseq.utils as u"
CHECK = (
    "from fairseq.criterions import CRITERION_REGISTRY as r; "
    "assert {'encouraging_ls', 'encouraging_label_smoothed_cross_entropy'} <= set(r); print('registered')"
)


def user_dir(path):
    return f"u.import_user_module(Namespace(user_dir={str(path)!r}))"


ORDERS = {
    "user-dir alone": "{host}; {user_dir}; {check}",
    "plugin, then fairseq and user-dir": "import el_plugins; {host}; {user_dir}; {check}",
    "fairseq, plugin, user-dir": "{host}; import el_plugins; {user_dir}; {check}",
    "user-dir, then plugin and user-dir again": "{host}; {user_dir}; import el_plugins; {user_dir}; {check}",
    "plugin after fairseq": "{host}; import el_plugins; {check}",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site-packages with copies of fairseq and, by pip, of this package."""
    fairseq = pytest.importorskip("fairseq")
    if not (REPOSITORY / "el_plugins").is_dir():
        pytest.skip("the packages are installed, and their sources are not here")
    folder = tmp_path_factory.mktemp("site")
    here = Path(fairseq.__file__).parent
    skipped = shutil.ignore_patterns("__pycache__", "examples")
    shutil.copytree(here, folder / "fairseq", symlinks=False, ignore=skipped)
    shutil.copytree(here.parent / "fairseq_cli", folder / "fairseq_cli")
    source = tmp_path_factory.mktemp("source")  # pip builds inside the folder it is given
    for name in ("el_plugins", "fairseq_criterions", "detectron2_heads"):
        shutil.copytree(REPOSITORY / name, source / name)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(folder), str(source)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("order", [*list(ORDERS)[:2], *long(*list(ORDERS)[2:])])
@pytest.mark.parametrize("installed", [True, *long(False)])
def test_registers_whatever_the_order(order, installed, site, tmp_path):
    root = site if installed else REPOSITORY
    parts = {"host": IMPORT, "user_dir": user_dir("el_plugins" if installed else PLUGIN), "check": CHECK}
    assert "registered" in python(ORDERS[order].format(**parts), root, cwd=tmp_path)


def test_plain_words_train_from_any_directory(site, corpus, tmp_path):
    arguments = ["fairseq-train", corpus[1], "--user-dir", "el_plugins", "--criterion", "encouraging_ls"]
    arguments += [*TINY_MODEL, *TRAINING, "--cpu", "--max-update", 1, "--save-dir", tmp_path / "out"]
    script = f"import sys, fairseq_cli.train as t; sys.argv = {list(map(str, arguments))!r}; t.cli_main()"
    assert "done training" in python(script, site, cwd=tmp_path)
    assert (tmp_path / "out" / "checkpoint_last.pt").exists()


def test_a_symbolic_link_is_the_same_package(tmp_path):
    pytest.importorskip("fairseq")
    (tmp_path / "el_plugins").symlink_to(PLUGIN)
    script = f"import el_plugins; {IMPORT}; {user_dir(tmp_path / 'el_plugins')}; {CHECK}"
    assert "registered" in python(script, REPOSITORY)


def test_two_copies_get_fairseqs_own_error(site):
    output = python(f"import el_plugins; {IMPORT}; {user_dir(PLUGIN)}", site, cwd=site, check=False)
    assert "not globally unique" in output


def test_a_failure_is_told_every_time(tmp_path):
    pytest.importorskip("fairseq")
    shutil.copytree(PLUGIN, tmp_path / "el_plugins")
    (tmp_path / "fairseq_criterions.py").write_text("raise RuntimeError('broken on purpose')")
    attempt = f"\ntry: {user_dir(tmp_path / 'el_plugins')}\nexcept ImportError as error: print(error)"
    output = python(f"{IMPORT}{attempt}{attempt}", cwd=tmp_path)
    message = "el_plugins cannot register with fairseq: importing fairseq_criterions: broken on purpose"
    assert output.count(message) == 2


def test_importing_loads_no_host():
    script = (
        "import sys, el_plugins; from el_plugins.losses import EncouragingLoss; "
        "print([m for m in ('fairseq', 'detectron2', 'sacrebleu', 'omegaconf') if m in sys.modules])"
    )
    assert python(script, REPOSITORY).startswith("[]")


def test_losses_import_torch_and_nothing_above():
    # Triton comes with torch where it works, and its kernels are imported only then.
    paths = (PLUGIN / "losses").rglob("*.py")
    sources = [path.read_text() for path in paths if not path.name.endswith("_triton.py")]
    lines = [line for text in sources for line in text.splitlines()]
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported - sys.stdlib_module_names == {"el_plugins", "torch"}
    upward = ("fairseq_criterions", "detectron2_heads", "el_plugins.nmt", "el_plugins.checkpoints")
    assert not [name for name in upward for text in sources if f"from {name}" in text]


def test_module_prints_its_path(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "el_plugins"]
    output = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert output.stdout.strip() == str(PLUGIN)


def test_half_a_fairseq_hides_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "fairseq", types.ModuleType("fairseq"))
    registration.forget_user_dir()
