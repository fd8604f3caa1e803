"""Encouraging loss over softmax classes: cross-entropy plus a bonus for what is already right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.checks import (
    REDUCTIONS,
    check_choice,
    check_floating,
    check_number,
    check_values,
    class_layout,
    keep_nonfinite,
    reduce,
    single_precision,
)
from el_plugins.losses.kernels import paths
from el_plugins.losses.kernels.row_function import RowLosses
from el_plugins.losses.kernels.rows import Terms

SMOOTHINGS = ("uniform", "fairseq")


def encouraging_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    log_end: float = 0.75,
    bonus: str = "log",
    bonus_weight: float = 1.0,
    bonus_start: float | None = None,
    bonus_exponent: float = 2.0,
    smoothing: str = "uniform",
    inplace: bool = False,
) -> Tensor:
    r"""Cross-entropy plus a bonus, ``F.cross_entropy``'s drop-in replacement.

    With ``p = softmax(input)`` and the (smoothed) target distribution q, a row's loss is

    .. math:: L = \sum_i q_i \, (-\log p_i + w \, b(p_i))

    (Eq. 6 of "Well-classified Examples are Underestimated in Classification with Deep Neural
    Networks"; see :class:`~el_plugins.losses.bonuses.Bonus` for every b). The loss is negative for
    well-classified examples and, with ``log_end=1``, unbounded below.

    Args:
        input: logits, floating, shaped (C), (N, C) or (N, C, d1, ...). fp16 and bf16 are computed in
            fp32. A logit of -inf excludes its class.
        target: class indices, integer, shaped (), (N) or (N, d1, ...).
        weight: a factor for each class, shaped (C).
        ignore_index: the target whose rows give exactly 0, whatever their logits.
        reduction: ``none``, ``mean`` (weighted as torch does; 0 when nothing is left) or ``sum``.
        label_smoothing: epsilon in [0, 1].
        log_end: where the log bonus goes on as a straight line, in [0, 1]; other bonuses ignore it.
        bonus: ``log``, ``aggressive``, ``power``, ``cosine`` or ``none``.
        bonus_weight: w >= 0; 0 is plain cross-entropy.
        bonus_start: where ``aggressive`` (0.5) or ``power`` (0) begins, in [0, 1).
        bonus_exponent: k > 0 of ``power``.
        smoothing: ``uniform`` spreads epsilon over all classes as torch does, ``fairseq`` over all
            but the target.
        inplace: let backward write the gradient over ``input``, which saves its memory. Whoever reads
            ``input`` afterwards sees gradients; autograd notices when it needs the old values.

    Returns:
        float32 (float64 for float64 input): a scalar, or target's shape for ``reduction="none"``.
        NaN and +inf logits give a non-finite loss and gradient. Works under ``torch.compile``.
        Differentiable once; for second derivatives and ``torch.func.vmap`` take the formula, by
        ``with el_plugins.losses.kernels.use("formula")``.

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype. Target values are
            checked on CPU in eager mode only.
    """
    terms = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent)
    check_options(reduction, label_smoothing, smoothing)
    class_dim = class_layout(input, target)
    logits = input.movedim(class_dim, -1).reshape(-1, input.size(class_dim))
    check_weight(weight, logits.size(1))
    rows, kept = check_targets(target, logits.size(1), ignore_index)
    losses, _ = fused_row_losses(logits, rows, kept, weight, label_smoothing, smoothing, terms, inplace)
    if reduction == "none":
        return losses.reshape(target.shape)
    count = kept.to(losses.dtype) if weight is None else kept * weight.to(losses.dtype)[rows]
    return reduce(losses, reduction, count.sum())


def fused_row_losses(
    logits: Tensor,
    target: Tensor,
    kept: Tensor,
    weight: Tensor | None,
    label_smoothing: float,
    smoothing: str,
    bonus: Bonus,
    inplace: bool,
) -> tuple[Tensor, Tensor]:
    """:func:`row_losses` by the path that :mod:`~el_plugins.losses.kernels.paths` chooses.

    Returns:
        Losses, (N), and log p of the targets, (N), without a gradient; 0 for rows that are not kept.
    """
    path = paths.chosen(logits)
    if path == "formula":
        losses = row_losses(logits, target, kept, weight, label_smoothing, smoothing, bonus)
        z = single_precision(logits.detach()).masked_fill(~kept.unsqueeze(1), 0)
        log_p = z.gather(1, target.unsqueeze(1)).squeeze(1) - z.logsumexp(dim=1)
        return losses, log_p.masked_fill(~kept, 0)
    terms = row_terms(weight, label_smoothing, smoothing, bonus, logits.size(1), logits.dtype)
    return RowLosses.apply(logits, target, kept, terms, path, inplace)


def row_terms(
    weight: Tensor | None,
    label_smoothing: float,
    smoothing: str,
    bonus: Bonus,
    classes: int,
    dtype: torch.dtype,
) -> Terms:
    """What the kernels take of the options, for logits of ``dtype``."""
    on_target, elsewhere = smoothed_target(label_smoothing, smoothing, classes)
    if weight is not None:
        weight = weight.to(torch.promote_types(dtype, torch.float32))
    return Terms(on_target, elsewhere if label_smoothing else 0.0, weight, bonus)


def row_losses(
    logits: Tensor,
    target: Tensor,
    kept: Tensor,
    weight: Tensor | None,
    label_smoothing: float,
    smoothing: str,
    bonus: Bonus,
) -> Tensor:
    """Loss of each row, by differentiable torch operations: the formula, and the kernels' oracle.

    Args:
        logits: (N, V), any float dtype.
        target: (N), class indices within range, ignored rows too.
        kept: (N), bool; a row that is not kept gives exactly 0 loss and gradient, even from NaN.
        weight: (V) or None.
        label_smoothing, smoothing, bonus: as in :func:`encouraging_loss`.

    Returns:
        (N), float32 or float64.
    """
    z = single_precision(logits).masked_fill(~kept.unsqueeze(1), 0)
    target = target.unsqueeze(1)
    top, top_class = z.max(dim=1, keepdim=True)
    is_top = torch.arange(z.size(1), device=z.device) == top_class

    # Everything follows from the log-odds against the top class, log((1-p)/p), taken from the *other*
    # classes relative to their own maximum: no digit of 1-p is lost however close p comes to 1.
    others = z.masked_fill(is_top, -torch.inf)
    alone = (others == -torch.inf).all(dim=1, keepdim=True)  # no other class left: the bonus is 0
    others = others.masked_fill(alone, 0)
    second = others.detach().amax(dim=1, keepdim=True)
    odds = (others - second).logsumexp(dim=1, keepdim=True) + (second - top)
    odds = odds.masked_fill(alone, -torch.inf)
    log_p = (z - top) + F.logsigmoid(-odds)

    def class_terms(log_p: Tensor, is_top: Tensor) -> Tensor:
        top_log_1mp = F.logsigmoid(odds.masked_fill(alone, 0))
        # Every class but the top one has p <= 1/2, where log1p is safe.
        log_1mp = torch.where(is_top, top_log_1mp, (-log_p.masked_fill(is_top, -torch.inf).exp()).log1p())
        return bonus(log_p, log_1mp).masked_fill(alone, 0) - log_p

    loss = class_terms(log_p.gather(1, target), target == top_class).squeeze(1)
    if weight is not None:
        weight = weight.to(z.dtype)
        loss = loss * weight[target.squeeze(1)]
    if label_smoothing > 0:
        on_target, elsewhere = smoothed_target(label_smoothing, smoothing, z.size(1))
        terms = class_terms(log_p, is_top)
        terms = terms if weight is None else terms * weight
        loss = (on_target - elsewhere) * loss + elsewhere * terms.sum(dim=1)
    return keep_nonfinite(loss, top.squeeze(1).isfinite()).masked_fill(~kept, 0)


def smoothed_target(epsilon: float, smoothing: str, classes: int) -> tuple[float, float]:
    """(q_y, q_j for j != y) of a target smoothed by ``epsilon`` over ``classes`` classes."""
    if smoothing == "uniform":
        return 1 - epsilon + epsilon / classes, epsilon / classes
    return 1 - epsilon, epsilon / max(classes - 1, 1)


def check_options(reduction: str, label_smoothing: float, smoothing: str) -> None:
    """Raise ValueError for an unknown reduction or smoothing, or an epsilon outside [0, 1]."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("smoothing", smoothing, SMOOTHINGS)
    check_number("label_smoothing", label_smoothing, low=0.0, high=1.0)


def check_targets(target: Tensor, classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Flat class indices within range, 0 for ignored ones, and which are not ignored: (N) each.

    Raises:
        ValueError: an index out of range, where values are read.
    """
    rows = target.reshape(-1).long()
    check_values(
        lambda t: ((t >= 0) & (t < classes)) | (t == ignore_index),
        rows,
        f"target must be a class index from 0 to {classes - 1} or ignore_index={ignore_index}",
    )
    kept = rows != ignore_index
    return rows.masked_fill(~kept, 0), kept


def check_weight(weight: Tensor | None, classes: int) -> None:
    """Raise ValueError unless ``weight`` is None or one floating factor for each class."""
    if weight is not None:
        check_floating("weight", weight)
        if weight.shape != (classes,):
            raise ValueError(
                f"weight must have one element for each of the {classes} classes, "
                f"got shape {tuple(weight.shape)}"
            )


class EncouragingLoss(nn.Module):
    """:func:`encouraging_loss` as a module; the same arguments, checked at construction.

    ``weight`` is a buffer, so it moves with the module and is saved with it.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        log_end: float = 0.75,
        bonus: str = "log",
        bonus_weight: float = 1.0,
        bonus_start: float | None = None,
        bonus_exponent: float = 2.0,
        smoothing: str = "uniform",
        inplace: bool = False,
    ) -> None:
        super().__init__()
        check_options(reduction, label_smoothing, smoothing)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.smoothing = smoothing
        self.inplace = inplace
        self.bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent)

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return (
            f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, "
            f"label_smoothing={self.label_smoothing}, smoothing={self.smoothing!r}, {self.bonus.settings()}"
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of ``input`` against ``target``; shapes and errors of :func:`encouraging_loss`."""
        return encouraging_loss(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
            smoothing=self.smoothing,
            inplace=self.inplace,
            **self.bonus.arguments(),
        )
