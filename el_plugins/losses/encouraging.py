"""Encouraging loss over softmax classes: cross-entropy plus a bonus for well-classified examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from el_plugins.losses import sharded
from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import fused_loss, fused_row_losses, fused_soft_row_losses
from el_plugins.losses.numerics import reduce, weighted_count
from el_plugins.losses.options import RowOptions, check_options, check_soft_options
from el_plugins.losses.validation import (
    check_class_indices,
    check_index,
    check_weight,
    class_layout,
    indices_and_mask,
    shape_text,
)


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
    bonus_eps: float = 1e-5,
    smoothing: str = "uniform",
    inplace: bool = False,
    return_log_prob: bool = False,
) -> Tensor:
    r"""Cross-entropy plus a bonus: a drop-in replacement for ``F.cross_entropy``.

    With ``p = softmax(input)`` and the (smoothed) target distribution q, a row's loss is

    .. math:: L = \sum_i q_i \, (-\log p_i + w \, b(p_i))

    (Eq. 6 of "Well-classified Examples are Underestimated in Classification with Deep Neural
    Networks"; see :class:`~el_plugins.losses.bonuses.Bonus` for every b). The loss is negative for
    well-classified examples.

    Args:
        input: logits, floating, shaped (C), (N, C) or (N, C, d1, ...). fp16 and bf16 are computed in
            fp32. A logit of -inf excludes its class.
        target: class indices, integer, shaped (), (N) or (N, d1, ...); or class probabilities q (mixup,
            distillation), floating in input's shape, whose sum and sign are not checked. A class of
            probability 0 contributes 0 even at a logit of -inf.
        weight: a factor for each class, shaped (C).
        ignore_index: the target whose rows give exactly 0, whatever their logits; for class indices only.
        reduction: ``none``, ``sum`` or ``mean``, which is weighted as in torch: by the targets' class weights
            for class indices, by the number of rows for probabilities. It is 0 where there is no valid row.
        label_smoothing: epsilon in [0, 1].
        log_end: the p in [0, 1] from which the log bonus continues as its tangent; other bonuses ignore it.
        bonus: ``log``, ``aggressive``, ``power``, ``cosine`` or ``none``.
        bonus_weight: w >= 0; 0 is plain cross-entropy.
        bonus_start: where ``aggressive`` (0.5) or ``power`` (0) begins, in [0, 1).
        bonus_exponent: k > 0 of ``power``.
        bonus_eps: in [0, 0.5), the lower bound of 1-p in the log and the aggressive bonus,
            ``log(max(1-p, eps))``, as in the authors' code. 0 is Eq. 6 to the letter: unbounded below, and
            divergent at ordinary learning rates.
        smoothing: ``uniform`` spreads epsilon over all classes as torch does, ``fairseq`` over all
            but the target, which needs class indices.
        inplace: write the gradient over ``input``, which saves its memory: in backward, or in this call where
            the gradient is computed here (on CUDA, and in compiled code). ``input`` then holds gradients, and
            autograd raises if its old values are needed. Saves nothing for logits that are copied first, as
            (N, C, d1, ...) ones on the CPU, for logits that share memory, and under torch.func. Not for a
            leaf that requires a gradient, or a view of one.
        return_log_prob: return ``(loss, log_prob)``, with log p of the targets in the loss' dtype and in
            target's shape, 0 where ignored, without a gradient. Accuracy and perplexity then need no second
            pass. For class indices only.

    Returns:
        float32 (float64 for float64 input): a scalar, or input's shape without its classes for
        ``reduction="none"``. NaN and +inf logits give a non-finite loss and gradient. Works under
        ``torch.compile``.
        Differentiable once, by ``input`` and by class probabilities (which ignore ``inplace``), and in
        reverse mode (``torch.func.grad``, ``vjp``, ``jacrev``, ``vmap``); for second derivatives and forward
        mode use the formula: ``with el_plugins.losses.kernels.use("formula")``.
        A DTensor gives a DTensor: ``mean`` and ``sum`` over all its rows, replicated. Its placements are
        ``Replicate()`` or ``Shard(0)``; ``target`` is placed likewise on its mesh, or is a plain tensor of
        all rows, ``weight`` is replicated or a plain tensor.

    Raises:
        RuntimeError: ``inplace`` for a leaf that requires a gradient, or a view of one; a second derivative,
            forward mode or a batch of gradients (``is_grads_batched``).
        ValueError: an argument is out of range or of the wrong shape or dtype, or has no meaning for
            class probabilities: an ``ignore_index`` >= 0, ``fairseq`` label smoothing or ``return_log_prob``;
            a DTensor has other placements. Target indices are checked on CPU in eager mode only; on CUDA one
            out of range gives NaN.
    """
    weighted_bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)
    check_options(reduction, label_smoothing, smoothing)
    check_index("ignore_index", ignore_index)
    class_dim = class_layout(input, target, soft=True)
    if inplace and not target.is_floating_point():
        check_overwritable(input)
    shards, finish = sharded.shards_of(input, target, weight, class_dim), reduce
    if shards is not None:
        input, target = shards.local("input", input), shards.local("target", target)
        weight, finish = sharded.local_weight(weight), shards.reduce
    classes = input.size(class_dim)
    check_weight(weight, classes)
    options = RowOptions(weighted_bonus, weight, label_smoothing, smoothing)
    logits = rows_of(input)
    if target.is_floating_point():
        check_soft_options(ignore_index, label_smoothing, smoothing, return_log_prob)
        losses = fused_soft_row_losses(
            logits.reshape(-1, classes), rows_of(target).reshape(-1, classes), options
        )
        return finish(losses.reshape(input.shape[:class_dim] + input.shape[class_dim + 1 :]), reduction)
    indices = target.reshape(-1)
    check_class_indices(indices, classes, ignore_index)
    if shards is None and reduction != "none":
        loss, log_p = fused_loss(logits, indices, ignore_index, options, reduction, inplace=inplace)
    else:
        losses, log_p = fused_row_losses(logits, indices, ignore_index, options, inplace=inplace)
        count = None
        if reduction == "mean":
            count = weighted_count(*indices_and_mask(indices, ignore_index), weight, losses.dtype)
        loss = finish(losses.reshape(target.shape), reduction, count)
    if return_log_prob:  # typed without it, as torch's functions that return indices on request are
        return loss, finish(log_p.reshape(target.shape), "none")  # type: ignore[return-value]
    return loss


def rows_of(input: Tensor) -> Tensor:
    """(C), (N, C) or (N, C, d1, ...) as (N, C) or (N, d1 * ..., C), without a copy where strides allow."""
    if input.dim() <= 2:
        return input.reshape(-1, input.size(-1))
    return input.flatten(2).transpose(1, 2)


def check_overwritable(input: Tensor) -> None:
    """Raise RuntimeError for a leaf that requires a gradient, or a view of one, as torch does."""
    whole = input if input._base is None else input._base
    if whole.is_leaf and whole.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            "inplace=True would overwrite input with its gradient, but input is a leaf that requires a "
            "gradient, or a view of one: its values would be lost. Use inplace=False"
        )


class EncouragingLoss(nn.Module):
    """:func:`encouraging_loss` as a module; the same arguments but ``return_log_prob``, checked when built.

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
        bonus_eps: float = 1e-5,
        smoothing: str = "uniform",
        inplace: bool = False,
    ) -> None:
        super().__init__()
        check_options(reduction, label_smoothing, smoothing)
        check_index("ignore_index", ignore_index)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.smoothing = smoothing
        self.inplace = inplace
        self.bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return (
            f"weight={shape_text(self.weight)}, ignore_index={self.ignore_index}, "
            f"reduction={self.reduction!r}, label_smoothing={self.label_smoothing}, "
            f"smoothing={self.smoothing!r}, {self.bonus.settings()}, inplace={self.inplace}"
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
