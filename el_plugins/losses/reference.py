"""Encouraging loss of each row as the paper writes it, by differentiable torch operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.validation import keep_nonfinite, single_precision

SMOOTHINGS = ("uniform", "fairseq")


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
    log_p, finite, class_terms = log_softmax_and_terms(z, bonus)
    loss = class_terms(log_p.gather(1, target), target).squeeze(1)
    if weight is not None:
        weight = weight.to(z.dtype)
        loss = loss * weight[target.squeeze(1)]
    if label_smoothing > 0:
        on_target, elsewhere = smoothed_target(label_smoothing, smoothing, z.size(1))
        terms = class_terms(log_p, torch.arange(z.size(1), device=z.device))
        terms = terms if weight is None else terms * weight
        loss = (on_target - elsewhere) * loss + (elsewhere * terms).sum(dim=1)  # the plain sum may overflow
    return keep_nonfinite(loss, finite).masked_fill(~kept, 0)


def soft_row_losses(
    logits: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, bonus: Bonus
) -> Tensor:
    """Loss of each row against a distribution over the classes, by differentiable torch operations.

    Args:
        logits: (N, V), any float dtype.
        target: q, (N, V), any float dtype, smoothed here as torch does; no sum or sign is asked for.
        weight: (V) or None.
        label_smoothing, bonus: as in :func:`encouraging_loss`.

    Returns:
        (N), float32 or float64, differentiable by ``target`` too.
    """
    z = single_precision(logits)
    log_p, finite, class_terms = log_softmax_and_terms(z, bonus)
    q = (1 - label_smoothing) * target.to(z.dtype) + label_smoothing / z.size(1)
    q = q if weight is None else q * weight.to(z.dtype)
    terms = class_terms(log_p, torch.arange(z.size(1), device=z.device))
    # An excluded class has an infinite term, which its q of 0 takes out. Elsewhere a q of 0 has a gradient.
    terms = terms.masked_fill((q == 0) & (log_p == -torch.inf), 0)
    return keep_nonfinite((q * terms).sum(dim=1), finite)


def log_softmax_and_terms(
    z: Tensor, bonus: Bonus
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """What the losses are made of: ``log p`` and the function that gives ``-log p + w b(p)``.

    Args:
        z: logits, (N, V), float32 or float64.

    Returns:
        log p, (N, V); whether the row's largest logit is finite, (N), bool; and the function that gives the
        terms of some classes of each row, (N, K), from their log p, (N, K), and indices, (N, K) or (K).
    """
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

    def class_terms(log_p: Tensor, classes: Tensor) -> Tensor:
        is_top = classes == top_class
        top_log_1mp = F.logsigmoid(odds.masked_fill(alone, 0))
        # Every class but the top one has p <= 1/2, where log1p is safe.
        log_1mp = torch.where(is_top, top_log_1mp, (-log_p.masked_fill(is_top, -torch.inf).exp()).log1p())
        return bonus(log_p, log_1mp).masked_fill(alone, 0) - log_p

    return log_p, top.squeeze(1).isfinite(), class_terms


def smoothed_target(epsilon: float, smoothing: str, classes: int) -> tuple[float, float]:
    """(q_y, q_j for j != y) of a target smoothed by ``epsilon`` over ``classes`` classes."""
    if smoothing == "uniform":
        return 1 - epsilon + epsilon / classes, epsilon / classes
    return 1 - epsilon, epsilon / max(classes - 1, 1)
