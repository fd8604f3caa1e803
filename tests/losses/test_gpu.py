"""What only a GPU shows: the first-order suite on it, CUDA graphs, and the memory of a step."""

import sys
from pathlib import Path

import pytest
import torch

from el_plugins.losses import encouraging_loss, linear_encouraging_loss, sigmoid_halted_focal_loss
from el_plugins.losses.kernels import use
from tests.commands import REPOSITORY, run

pytestmark = pytest.mark.gpu
SUITE = ("encouraging", "encouraging_edges", "halted_focal", "soft_targets", "binary", "mirror_mse", "linear")


@pytest.mark.parametrize("name", SUITE)
def test_first_order_suite(name):
    path = Path(__file__).with_name(f"test_{name}.py")
    output = run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not long",
        path,
        cwd=REPOSITORY,
        env={"TEST_DEVICE": "cuda"},
    )
    assert " passed" in output


@pytest.mark.parametrize("name", ["triton_cases.py", "triton_focal_cases.py", "triton_focal_sum_cases.py"])
def test_kernels_as_compiled(name):
    path = Path(__file__).parent / "kernels" / name
    output = run(sys.executable, "-m", "pytest", "-q", path, cwd=REPOSITORY, env={"TRITON_INTERPRET": "0"})
    assert " passed" in output


def focal(x, target, reduction):
    return sigmoid_halted_focal_loss(x, target, reduction=reduction)


def rows(x, target, reduction):
    return encouraging_loss(x, target, reduction=reduction, label_smoothing=0.1)


def linear(x, target, reduction):
    return linear_encouraging_loss(
        x, torch.eye(x.size(1), device="cuda", dtype=x.dtype), target, reduction=reduction
    )


@pytest.mark.parametrize("loss", [focal, rows, linear])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_cuda_graph_captures_a_step(loss, reduction):
    x = torch.randn(64, 80, device="cuda", requires_grad=True)
    target = torch.randint(80, (64,), device="cuda")

    def step():
        value = loss(x, target, reduction).sum()
        return value.detach(), torch.autograd.grad(value, x)[0]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        x.mul_(2)
    graph.replay()
    torch.testing.assert_close(captured, step())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_of_focal_loss_needs_the_memory_of_its_gradient(reduction):
    x = torch.randn(2**18, 80, device="cuda", requires_grad=True)
    target = torch.randint(81, (2**18,), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.autograd.grad(focal(x, target, reduction), x)
    assert torch.cuda.max_memory_allocated() - before <= 1.2 * x.nbytes


def test_the_gradient_of_a_narrow_matrix_is_rounded_once():
    torch.manual_seed(0)
    hidden = torch.randn(4096, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    matrix = torch.randn(500, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    target = torch.randint(500, (4096,), device="cuda")
    found = torch.autograd.grad(linear_encouraging_loss(hidden, matrix, target), matrix)[0].double()
    with use("formula"):
        wide = [x.detach().double().requires_grad_() for x in (hidden, matrix)]
        exact = torch.autograd.grad(linear_encouraging_loss(*wide, target), wide[1])[0]
    # The logits and their gradient are bfloat16; the sum over the rows adds no error of its own.
    assert (found - exact).abs().max() <= 2**-7 * exact.abs().max()
