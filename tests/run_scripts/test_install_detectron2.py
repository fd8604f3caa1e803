"""The installer of detectron2's Python part, on a small wheel of the same layout: whole or nothing."""

import subprocess
import venv
import zipfile

import pytest

from tests.commands import REPOSITORY

SCRIPT = REPOSITORY / "run_scripts" / "install_detectron2.sh"
NEEDED = (
    "numpy PIL torch torchvision fvcore iopath pycocotools yacs tabulate cloudpickle termcolor omegaconf "
    "hydra matplotlib packaging"
).split()


def wheel(folder, modeling="x = 1\n"):
    path = folder / "sal_detectron2-0.7.2-cp310-cp310-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("detectron2/__init__.py", "")
        file.writestr("detectron2/modeling/__init__.py", modeling)
        file.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", "")
        file.writestr("sal_detectron2-0.7.2.dist-info/METADATA", "Name: sal-detectron2\n")
        file.writestr("tools/__init__.py", "")
    return path


@pytest.fixture
def environment(tmp_path):
    """A bare environment; its Python and the folder of its packages."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python", next(folder.glob("lib/python*/site-packages"))


def have(packages, names=NEEDED):
    """Packages that only have to be there."""
    for name in names:
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("")


def install(python, wheel):
    done = subprocess.run(
        ["bash", str(SCRIPT), str(python), str(wheel)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_python_part_and_again(environment, tmp_path):
    python, packages = environment
    have(packages)
    # What an earlier installation left that was killed on the way.
    (packages / "sal_detectron2-0.7.2.dist-info").mkdir()
    (packages / ".detectron2.unpacking").mkdir()
    code, output = install(python, wheel(tmp_path))
    assert code == 0, output
    assert f"detectron2 is in {packages / 'detectron2' / 'modeling'}" in output
    names = {path.name for path in packages.iterdir()} - set(NEEDED)
    assert names == {"detectron2", "sal_detectron2-0.7.2.dist-info"}
    assert not list((packages / "detectron2").glob("*.so"))
    assert install(python, tmp_path / "none.whl") == (0, "")


@pytest.mark.parametrize("there", [NEEDED[1:], []], ids=["no numpy", "nothing"])
def test_what_it_needs_comes_first(environment, tmp_path, there):
    python, packages = environment
    have(packages, there)
    code, output = install(python, wheel(tmp_path))
    missing = " ".join(name for name in NEEDED if name not in there)
    assert code == 1
    assert (
        f"install_detectron2: detectron2 needs {missing}: first pip install 'el_plugins[detectron2]'"
        in output
    )
    assert {path.name for path in packages.iterdir()} == set(there)


@pytest.mark.parametrize("broken", ["import nowhere\n", None], ids=["import", "damaged"])
def test_what_does_not_work_is_not_installed(environment, tmp_path, broken):
    python, packages = environment
    have(packages)
    path = wheel(tmp_path, broken or "")
    if broken is None:
        path.write_bytes(path.read_bytes()[:300])
    code, output = install(python, path)
    assert code == 1
    assert "nothing was installed" in output
    assert {path.name for path in packages.iterdir() if path.name != "__pycache__"} == set(NEEDED)
    assert "nowhere" in output or broken is None
    path.unlink()
    assert install(python, wheel(tmp_path))[0] == 0


def test_an_installation_that_cannot_be_imported_is_left_alone(environment, tmp_path):
    python, packages = environment
    (packages / "detectron2").mkdir()
    (packages / "detectron2" / "__init__.py").write_text("import nowhere\n")
    code, output = install(python, wheel(tmp_path))
    assert code == 1
    assert (
        "detectron2 is installed but cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
        in output
    )
    assert not (packages / "detectron2" / "modeling").exists()
