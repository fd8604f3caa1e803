"""Every command of the README and the documentation is read by its real parser."""

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys

import pytest

from tests.pages import REPOSITORY, blocks, commands

METADATA = "".join((REPOSITORY / name).read_text() for name in ("setup.py", "pyproject.toml"))
NEEDED = {
    "detectron2_heads.train_net": "detectron2",
    "experiments.detection.demo": "detectron2",
    "experiments.studies": "accelerate",
    "benchmarks.losses": "fvcore",
    "benchmarks.gpu": "fvcore",
}

OWN = {"el-nmt-benchmark", "el-detection-benchmark"}  # they split their arguments first


class Parsed(Exception):
    """A command has read its arguments; its work is not done here."""


@pytest.fixture(autouse=True)
def parse_only(monkeypatch):
    def stopping(parse):
        def stop(parser, arguments=None, namespace=None):
            parsed = parse(parser, arguments, namespace)
            if arguments is None or arguments is sys.argv or parser.prog in OWN:  # a command's own
                raise Parsed
            return parsed

        return stop

    for name in ("parse_args", "parse_intermixed_args"):
        parse = getattr(argparse.ArgumentParser, name)
        monkeypatch.setattr(argparse.ArgumentParser, name, stopping(parse))
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.syspath_prepend(REPOSITORY)
    monkeypatch.chdir(REPOSITORY)


def check_make(_, words):
    subprocess.run(["make", "--dry-run", *words], check=True, capture_output=True)


def check_pip(_, words):
    assert words[0] == "install"
    for extra in re.findall(r"\w+", "".join(re.findall(r"\[(.*?)\]", words[1]))):
        assert re.search(rf'^ *"?{extra}"? ?[:=]', METADATA, re.M), f"there is no extra {extra}"


def check_script(name, words):
    assert os.access(name, os.X_OK)
    if flags := [word for word in words if word.startswith("--")]:
        output = subprocess.run([name, "--help"], check=True, capture_output=True, text=True).stdout
        assert all(flag in output for flag in flags)


def check_python(_, words):
    if words[0] != "-m":  # a program of examples/, which tests/examples runs
        text = (REPOSITORY / words[0]).read_text()
        assert all(flag in text for flag in words[1:])
        return
    module, *arguments = words[1:]
    if module in NEEDED:
        pytest.importorskip(NEEDED[module])
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Parsed:
        return
    assert not arguments, f"{module} did not read {arguments}"


def check_torchrun(_, words):
    from torch.distributed.run import get_args_parser

    launched = get_args_parser().parse_args(words)
    assert launched.module
    check_python("python", ["-m", launched.training_script, *launched.training_script_args])


def check_ours(name, words):
    check_python("python", ["-m", re.search(rf'{name}"? = "?([\w.]+):main', METADATA)[1], *words])


def check_fairseq(name, words):
    options = pytest.importorskip("fairseq.options")
    parser = {
        "fairseq-train": options.get_training_parser,
        "fairseq-validate": options.get_validation_parser,
        "fairseq-generate": options.get_generation_parser,
        "fairseq-interactive": options.get_interactive_generation_parser,
    }[name]()
    parsed = options.parse_args_and_arch(parser, words)
    if name == "fairseq-train":
        from fairseq_criterions.config import check_flags

        check_flags(vars(parsed))


def check_hydra(_, words):
    hydra_init = pytest.importorskip("fairseq.dataclass.initialize").hydra_init
    from hydra._internal.utils import get_args_parser
    from hydra.core.global_hydra import GlobalHydra
    from hydra.experimental import compose, initialize_config_dir

    named = get_args_parser().parse_args(words)
    hydra_init()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(REPOSITORY / named.config_dir)):
        assert compose(named.config_name, named.overrides).criterion._name == "encouraging_ls"


def check_export(_, words):
    assert all(re.fullmatch(r"\w+=\S+", word) for word in words)


CHECKS = {
    "make": check_make,
    "pip": check_pip,
    "run_scripts/": check_script,
    "python": check_python,
    "torchrun": check_torchrun,
    "el-": check_ours,
    "fairseq-hydra-train": check_hydra,
    "fairseq-": check_fairseq,
    "export": check_export,
}


@pytest.mark.parametrize(
    ("command", "place"), [pytest.param(*pair, id=" ".join(pair)) for pair in commands()]
)
def test_command(command, place):
    name, *words = shlex.split(command.replace("$(python -m el_plugins)", str(REPOSITORY / "el_plugins")))
    check = next((check for start, check in CHECKS.items() if name.startswith(start)), None)
    assert check, f"{place}: no test knows {name}: add it, or mark the block as not run"
    check(name, words)


@pytest.mark.parametrize(
    "command",
    [
        "fairseq-train DATA --user-dir el_plugins --criterion encouraging_ls --arch transformer --log-ends 1",
        "fairseq-train DATA --user-dir el_plugins --criterion encouraging_ls --arch transformer --bonus none "
        "--log-end 1",
        "fairseq-hydra-train --config-dir examples/fairseq --config-name encouraging_ls criterion.bonus=log",
        "fairseq-hydra-train task.data=DATA --config-name encouraging_ls criterion.log_end=1",
        "el-score FILE --references FILE",
        "python -m el_plugins.checkpoints.average --inputs",
        "python -m el_plugins all",
        "python examples/timm_training.py --mixups",
        "pip install '.[nowhere]'",
        "make nothing",
        "run_scripts/iwslt14_de_en.sh --losses ce",
        "reboot",
    ],
)
def test_wrong_commands_are_found(command):
    with pytest.raises(
        (AssertionError, SystemExit, ValueError, subprocess.CalledProcessError, *hydra_errors())
    ):
        test_command(command, "here")


def hydra_errors():
    try:
        from hydra.errors import HydraException
    except ImportError:
        return []
    return [HydraException]


def test_settings_of_a_benchmark(tmp_path):
    read_settings = pytest.importorskip("el_plugins.nmt.benchmark.settings").read_settings
    files = [block for block in blocks("yaml") if "systems:" in block.text]
    assert files
    for number, block in enumerate(files):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.text)
        assert len(read_settings(path).systems) > 1
