"""What the benchmarks compare does the same work, and what they measure is what was taken."""

import mmap

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("fairseq")
pytest.importorskip("fvcore")
pytest.importorskip("torchvision")

from benchmarks import peers
from benchmarks.measure import compare, machine, resume
from el_plugins.losses import encouraging_loss


def gradient(loss, x, *arguments):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(loss(x * 1, *arguments), x)[0]


def case():
    torch.manual_seed(0)
    target = torch.randint(peers.PAD, 40, (30,))
    target[4] = peers.PAD
    return 3 * torch.randn(30, 40), target


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_row_losses_agree(epsilon):
    z, target = case()
    gradients = {name: gradient(loss, z, target, epsilon) for name, loss in peers.ROWS.items()}
    for name in ("EL in place", "EL, plain chunks"):
        torch.testing.assert_close(gradients[name], gradients["EL"])
    if epsilon == 0:
        torch.testing.assert_close(gradients["torch cross_entropy"], gradients["fairseq LS-CE"])

    def uniform(z, target, epsilon):
        settings = {**peers.SETTINGS, "smoothing": "uniform"}
        return encouraging_loss(z, target, label_smoothing=epsilon, **settings)

    torch.testing.assert_close(gradients["authors' EL"], gradient(uniform, z, target, epsilon))


def test_linear_forms_agree():
    hidden, (_, target) = torch.randn(30, 6), case()
    matrix = torch.randn(40, 6)
    gradients = {name: gradient(loss, hidden, matrix, target, 0.0) for name, loss in peers.LINEAR.items()}
    wanted = gradient(lambda x: peers.ours()(F.linear(x, matrix), target, 0.0), hidden)
    torch.testing.assert_close(gradients["linear EL"], wanted)
    if "torch linear_cross_entropy" in gradients:
        torch.testing.assert_close(gradients["torch linear_cross_entropy"], gradients["matmul + LS-CE"])


def test_focal_losses_agree():
    torch.manual_seed(0)
    x, labels = torch.randn(2, 50, 5), torch.randint(-1, 6, (2, 50))
    gradients = {name: gradient(loss, x, labels) for name, loss in peers.FOCAL.items()}
    for name in ("fvcore focal, not scripted", "torchvision focal"):
        torch.testing.assert_close(gradients[name], gradients["detectron2 focal"])
    torch.testing.assert_close(gradients["halted focal, plain chunks"], gradients["halted focal"])
    assert not torch.allclose(gradients["halted focal"], gradients["detectron2 focal"])


def test_measuring():
    size = 2**26

    def large():
        # A heap that has been large would not grow for it.
        torch.frombuffer(mmap.mmap(-1, size), dtype=torch.int8).fill_(1)

    calls = {"small": lambda: lambda: torch.ones(8), "large": lambda: large}
    measured = compare(calls, 3)
    assert measured["large"]["memory"] == pytest.approx(size, rel=0.2)
    assert measured["small"]["memory"] < size / 8
    for figures in measured.values():
        assert 0 < figures["fastest"] <= figures["seconds"] <= figures["slowest"]


def test_figures_of_machines_do_not_mix(tmp_path):
    path = tmp_path / "losses.csv"
    assert resume(path, machine()) == []
    path.write_text(f'case,machine\n4x5,"{machine()}"\n')
    assert resume(path, machine()) == [{"case": "4x5", "machine": machine()}]
    path.write_text(path.read_text() + "4x6,an abacus\n")
    with pytest.raises(ValueError, match=r"holds figures of an abacus, not of .*name another folder"):
        resume(path, machine())
