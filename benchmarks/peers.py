"""The losses that are compared, each a function from fresh inputs to one forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from fvcore.nn import sigmoid_focal_loss, sigmoid_focal_loss_jit
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from el_plugins.losses import encouraging_loss, linear_encouraging_loss, sigmoid_halted_focal_loss
from el_plugins.losses.kernels import use

PAD = 1
SETTINGS: dict[str, Any] = {"ignore_index": PAD, "reduction": "sum", "smoothing": "fairseq", "log_end": 0.5}
Call = Callable[[], Any]
Loss = Callable[..., Tensor]


def fairseq_ls(logits: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """fairseq's label_smoothed_cross_entropy."""
    log_p = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    return label_smoothed_nll_loss(log_p, target.unsqueeze(1), epsilon, ignore_index=PAD)[0]


def authors_el(logits: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """The formula of the released code, written again: log_end 0.5, 1-p clamped at 1e-5, all smoothed."""
    p = F.softmax(logits, dim=-1, dtype=torch.float32)
    log_p = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    log_1mp = torch.log(torch.clamp(1 - p, min=1e-5))
    tangent = -(p - 0.5) / 0.5 + torch.log(torch.tensor(0.5))
    bonus = torch.where(p > 0.5, tangent, log_1mp)
    terms = -log_p + bonus
    mass = torch.full_like(p, epsilon / p.size(1)).scatter(
        1, target.unsqueeze(1), 1 - epsilon + epsilon / p.size(1)
    )
    return (mass * terms).masked_fill((target == PAD).unsqueeze(1), 0).sum()


def ours(inplace: bool = False) -> Callable[[Tensor, Tensor, float], Tensor]:
    """encouraging_loss in fairseq's convention, with log_end 0.5."""

    def loss(logits: Tensor, target: Tensor, epsilon: float) -> Tensor:
        return encouraging_loss(logits, target, label_smoothing=epsilon, inplace=inplace, **SETTINGS)

    return loss


def torch_ce(logits: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """torch's cross_entropy."""
    return F.cross_entropy(logits, target, ignore_index=PAD, reduction="sum", label_smoothing=epsilon)


def by_path(path: str, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``loss`` with the implementation ``path``."""

    def call(*arguments: Any) -> Tensor:
        with use(path):
            return loss(*arguments)

    return call


ROWS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "fairseq LS-CE": fairseq_ls,
    "torch cross_entropy": torch_ce,
    "authors' EL": authors_el,
    "EL": ours(),
    "EL in place": ours(inplace=True),
    "EL, plain chunks": by_path("chunks", ours()),
}


def rows(loss: Loss, count: int, classes: int, epsilon: float, dtype: torch.dtype, device: str) -> Call:
    """A pass of ``loss``, one of :data:`ROWS`, over fresh logits, which are no leaf, as in a model."""
    leaf = torch.zeros((), device=device, dtype=dtype, requires_grad=True)
    logits = torch.randn(count, classes, device=device, dtype=dtype).add_(leaf)
    target = torch.randint(PAD + 1, classes, (count,), device=device)

    def call() -> None:
        torch.autograd.grad(loss(logits, target, epsilon), logits)

    return call


def linear_reference(hidden: Tensor, matrix: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """The matrix product, then fairseq's loss."""
    return fairseq_ls(F.linear(hidden, matrix), target, epsilon)


def linear_torch(hidden: Tensor, matrix: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """torch's linear_cross_entropy; torch 2.14 takes no chunks where labels are smoothed."""
    options = torch.nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(
        hidden, matrix, target, ignore_index=PAD, reduction="sum", label_smoothing=epsilon, options=options
    )


def linear_ours(hidden: Tensor, matrix: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """linear_encouraging_loss in fairseq's convention, with log_end 0.5."""
    return linear_encouraging_loss(hidden, matrix, target, label_smoothing=epsilon, **SETTINGS)


LINEAR = {"matmul + LS-CE": linear_reference, "linear EL": linear_ours}
if hasattr(torch.nn, "LinearCrossEntropyOptions"):  # torch >= 2.13
    LINEAR["torch linear_cross_entropy"] = linear_torch


def linear(
    loss: Loss, count: int, classes: int, width: int, epsilon: float, dtype: torch.dtype, device: str
) -> Call:
    """A pass of ``loss``, one of :data:`LINEAR`, over fresh hidden states and output matrix."""
    hidden = torch.randn(count, width, device=device, dtype=dtype, requires_grad=True)
    matrix = (torch.randn(classes, width, device=device, dtype=dtype) / width**0.5).requires_grad_()
    target = torch.randint(PAD + 1, classes, (count,), device=device)

    def call() -> None:
        torch.autograd.grad(loss(hidden, matrix, target, epsilon), (hidden, matrix))

    return call


def detectron2_focal(
    x: Tensor, labels: Tensor, focal: Callable[..., Tensor] = sigmoid_focal_loss_jit
) -> Tensor:
    """What detectron2's RetinaNet does: the rows that count, a one-hot of them, fvcore's focal loss."""
    valid = labels >= 0
    classes = x.size(-1)
    target = F.one_hot(labels[valid], num_classes=classes + 1)[:, :-1]
    return focal(x[valid], target.to(x.dtype), alpha=0.5, gamma=1.0, reduction="sum")


def halted(x: Tensor, labels: Tensor) -> Tensor:
    """sigmoid_halted_focal_loss on class indices."""
    return sigmoid_halted_focal_loss(x, labels, 0.5, 1.0, "sum")


FOCAL = {
    "detectron2 focal": detectron2_focal,
    "fvcore focal, not scripted": lambda x, labels: detectron2_focal(x, labels, sigmoid_focal_loss),
    "torchvision focal": lambda x, labels: detectron2_focal(x, labels, torchvision_focal_loss),
    "halted focal": halted,
    "halted focal, plain chunks": by_path("chunks", halted),
}


def focal(loss: Loss, images: int, anchors: int, classes: int, dtype: torch.dtype, device: str) -> Call:
    """A pass of ``loss``, one of :data:`FOCAL`, with logits near RetinaNet's prior, few objects."""
    x = (torch.randn(images, anchors, classes, device=device, dtype=dtype) - 4.6).requires_grad_()
    chance = torch.rand(images, anchors, device=device)
    labels = torch.full((images, anchors), classes, device=device)
    labels[chance < 0.002] = -1
    labels[chance < 0.001] = 3

    def call() -> None:
        torch.autograd.grad(loss(x, labels), x)

    return call
