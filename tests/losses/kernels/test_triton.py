"""Runs the Triton cases on a GPU, or in Triton's interpreter, which must be chosen before Python starts."""

import sys
from pathlib import Path

import pytest
import torch

from tests.commands import REPOSITORY, run

pytest.importorskip("numpy")  # of Triton's interpreter
pytest.importorskip("triton", minversion="3.0", reason="the interpreter of older ones lacks operations")

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("triton_*cases.py")))
def test_triton_cases(name):
    cases = HERE / name
    environment = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    paths = f"pythonpath=. tests tests/losses {cases.parent}"
    output = run(sys.executable, "-m", "pytest", "-q", "-o", paths, cases, cwd=REPOSITORY, env=environment)
    assert " passed" in output


@pytest.mark.parametrize("name", ["triton_focal_costs.py", "triton_step_costs.py"])
def test_costs_counted_in_the_interpreter(name):
    cases = HERE / name
    environment = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    paths = f"pythonpath=. tests tests/losses {cases.parent}"
    output = run(sys.executable, "-m", "pytest", "-q", "-o", paths, cases, cwd=REPOSITORY, env=environment)
    assert " passed" in output


def test_first_order_suite_in_the_interpreter():
    # Triton's interpreter truncates where a GPU rounds to half precision.
    suite = sorted(Path(__file__).parents[1].glob("test_encouraging*.py"))
    chosen = ["-k", "triton and not half", *suite]
    environment = {"TRITON_INTERPRET": "1"}
    output = run(sys.executable, "-m", "pytest", "-q", *chosen, cwd=REPOSITORY, env=environment)
    assert " passed" in output
