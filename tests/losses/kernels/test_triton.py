"""Runs the Triton cases on a GPU, or in Triton's interpreter, which must be chosen before Python starts."""

import sys
from pathlib import Path

import pytest
import torch

from tests.commands import REPOSITORY, run

pytest.importorskip("numpy")  # of Triton's interpreter
pytest.importorskip("triton", minversion="3.0", reason="the interpreter of older ones lacks operations")

HERE = Path(__file__).parent
INTERPRETER = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
LONG = ["triton_cases.py", "triton_step_costs.py"]  # have cases marked as long, too
SUITES = sorted(path.name for path in HERE.glob("triton_*.py") if path.stem.endswith(("cases", "costs")))


def output_of(name, marks):
    # Costs are counted by what the interpreter launches.
    environment = {} if torch.cuda.is_available() and "costs" not in name else INTERPRETER
    paths = f"pythonpath=. tests tests/losses {HERE}"
    words = ("-m", "pytest", "-q", "-o", paths, "-m", marks, HERE / name)
    return run(sys.executable, *words, cwd=REPOSITORY, env=environment)


@pytest.mark.parametrize("name", SUITES)
def test_suite(name):
    assert " passed" in output_of(name, "not long")


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_more_of_it(name):
    assert " passed" in output_of(name, "long")


@pytest.mark.long
def test_first_order_suite_in_the_interpreter():
    # Triton's interpreter truncates where a GPU rounds to half precision.
    suite = sorted(Path(__file__).parents[1].glob("test_encouraging*.py"))
    chosen = ["-k", "triton and not half", *suite]
    output = run(sys.executable, "-m", "pytest", "-q", *chosen, cwd=REPOSITORY, env=INTERPRETER)
    assert " passed" in output
