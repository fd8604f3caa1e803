"""What the paper measures on logits: energies and margins, foreign images, accuracy by shots of a class."""

from __future__ import annotations

import torch
from torch import Tensor


class NotFiniteError(ValueError):
    """What is to be measured holds NaN or infinity, as a diverged training's outputs do."""


def require_finite(**values: Tensor) -> None:
    """Refuse NaN and infinity, which comparisons would otherwise count as very good or very bad scores.

    Args:
        values: any shape and dtype, by the name that the message gives them.

    Raises:
        NotFiniteError: it says how many values of each name are not finite.
    """
    bad = {name: int((~torch.isfinite(value)).sum()) for name, value in values.items()}
    if any(bad.values()):
        counts = " and ".join(f"{bad[name]} of {value.numel()} {name}" for name, value in values.items())
        raise NotFiniteError(f"all values must be finite, got {counts} that are not")


def energy(logits: Tensor, target: Tensor) -> Tensor:
    """Energy of the target class, -z_y: low where the model finds the example compatible with its label.

    Args:
        logits: (N, C), any floating dtype.
        target: (N,) int64, 0 <= target < C.

    Returns:
        (N,) in the dtype of ``logits``.

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    require_finite(logits=logits)
    return -logits.gather(1, target.unsqueeze(1)).squeeze(1)


def margin(logits: Tensor, target: Tensor) -> Tensor:
    """Margin of the target class, z_y - max over the others of z_j; above 0 where it is predicted.

    Args:
        logits: (N, C), any floating dtype, C >= 2.
        target: (N,) int64, 0 <= target < C.

    Returns:
        (N,) in the dtype of ``logits``.

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    others = logits.scatter(1, target.unsqueeze(1), -torch.inf)
    return -energy(logits, target) - others.max(dim=1).values


def log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """Log-odds of the target class' softmax probability, z_y - log of the sum over the others of exp z_j.

    Where p rounds to 1 they still differ. Differentiable; not checked for finite logits.

    Args:
        logits: (N, C), any floating dtype, C >= 2.
        target: (N,) int64, 0 <= target < C.

    Returns:
        (N,) in the dtype of ``logits``.
    """
    places = target.unsqueeze(1)
    others = logits.scatter(1, places, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, places).squeeze(1) - others


def ood_scores(logits: Tensor) -> dict[str, Tensor]:
    """Three out-of-distribution scores, higher for more foreign examples (section 4.4, Figure 11).

    ``minimum_energy`` is the paper's, min over y of E(y|x) = -max z; ``free_energy`` is -logsumexp z;
    ``maximum_probability`` is minus the log-odds of the predicted class: it ranks as the probability does,
    which a margin above 17 rounds to 1 in float32.

    Args:
        logits: (N, C), any floating dtype, C >= 2.

    Returns:
        (N,) by name.

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    require_finite(logits=logits)
    highest, predicted = logits.max(dim=1)
    return {
        "minimum_energy": -highest,
        "maximum_probability": -log_odds(logits, predicted),
        "free_energy": -logits.logsumexp(dim=1),
    }


def ood_metrics(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """How well a score of :func:`ood_scores` tells the outside from the inside, in per cent (Table 4).

    Args:
        inside: (N,) scores of examples from the training distribution.
        outside: (M,) scores of examples from elsewhere.

    Returns:
        ``auroc``: chance that an outside example scores higher than an inside one, ties counted half;
        ``fpr95``: share of outside examples taken for inside at the threshold that keeps 95 % of the inside.

    Raises:
        ValueError: one of them is empty.
        NotFiniteError: a score is NaN or infinite; the message says how many on which side.
    """
    if not len(inside) or not len(outside):
        raise ValueError(f"need scores on both sides, got {len(inside)} inside and {len(outside)} outside")
    require_finite(inside=inside, outside=outside)
    inside = inside.double().sort().values
    below = torch.searchsorted(inside, outside.double(), side="left")
    up_to = torch.searchsorted(inside, outside.double(), side="right")
    threshold = inside[-(-95 * len(inside) // 100) - 1]
    return {
        "auroc": 100 * ((below + up_to) / 2 / len(inside)).double().mean().item(),
        "fpr95": 100 * (outside <= threshold).double().mean().item(),
    }


SHOTS = ("many", "medium", "few")


def shots(counts: Tensor) -> Tensor:
    """Whether each class has many, medium or few training samples, as indices of :data:`SHOTS`.

    Many is more than 100, few is fewer than 20 (Table 3).

    Args:
        counts: (C,) training samples of each class.

    Returns:
        (C,) int64.
    """
    return torch.where(counts > 100, 0, torch.where(counts < 20, 2, 1))


def shot_accuracy(predicted: Tensor, target: Tensor, counts: Tensor) -> dict[str, float | None]:
    """Accuracy in per cent: ``overall``, and over the test samples of classes of each of :data:`SHOTS`.

    Args:
        predicted, target: (N,) int64 class indices.
        counts: (C,) training samples of each class.

    Returns:
        By name; None for a kind without test samples.
    """
    right = (predicted == target).double()
    kind = shots(counts)[target]

    def share(of: Tensor) -> float | None:
        return 100 * of.mean().item() if len(of) else None

    return {"overall": share(right), **{name: share(right[kind == n]) for n, name in enumerate(SHOTS)}}
