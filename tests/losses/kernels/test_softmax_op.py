"""The kernel as an operator: what torch checks of one, and that compiled and exported callers keep it."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from el_plugins.losses import EncouragingLoss, dispatch, encouraging_loss
from el_plugins.losses.kernels import softmax_op, softmax_rows

pytestmark = pytest.mark.skipif(
    not softmax_op.IS_AVAILABLE, reason="torch has no custom operators, or no Triton"
)
OPTIONS = [
    {},
    {"label_smoothing": 0.1, "bonus": "power", "bonus_start": 0.2},
    {"weight": torch.linspace(0.5, 2, 5)},
]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Plain operations in place of the kernel, which needs a GPU."""
    monkeypatch.setattr(softmax_op, "losses_and_gradient", softmax_rows.plain_losses_and_gradient)


def test_what_torch_checks_of_an_operator():
    z = torch.randn(2, 3, 5, requires_grad=True)
    target = torch.tensor([0, 1, -100, 3, 4, 2])
    options = (-100, 0.92, 0.02, "log", 0.75, 1.0, None, 2.0, 1e-5)
    for weight in (None, torch.rand(5)):
        torch.library.opcheck(torch.ops.el_plugins.encouraging_rows.default, (z, target, weight, *options))


@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 3)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_compiled_callers_keep_the_operator(options, shape, full_graph, monkeypatch):
    monkeypatch.setattr(dispatch, "keeps_kernel", lambda logits: torch.compiler.is_compiling())
    called = set()

    def backend(graph, inputs):
        called.update(node.target for node in graph.graph.nodes)
        return graph.forward

    z = torch.randn(shape, requires_grad=True)
    target = torch.randint(5, shape[:1] + shape[2:])
    target.view(-1)[0] = -100
    loss = full_graph(lambda z: 2 * encouraging_loss(z, target, **options), backend=backend)(z)
    assert any("encouraging_rows" in str(target) for target in called)
    expected = 2 * encouraging_loss(z, target, **options)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, z), torch.autograd.grad(expected, z))


def test_export_on_a_gpu_knows_the_shapes(full_graph):
    with FakeTensorMode():
        z, target = torch.empty(4, 5, device="cuda"), torch.empty(4, dtype=torch.long, device="cuda")
        exported = torch.export.export(EncouragingLoss(reduction="none"), (z, target), strict=False)
    nodes = [node for node in exported.graph.nodes if "encouraging_rows" in str(node.target)]
    assert [tuple(value.shape) for value in nodes[0].meta["val"]] == [(4,), (4,)]
