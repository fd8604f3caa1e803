"""Focal loss that stops down-weighting well-classified examples (Eq. 10 and 11, Table 10)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from el_plugins.losses.checks import (
    REDUCTIONS,
    check_choice,
    check_dense_binary,
    check_floating,
    check_number,
    check_values,
    keep_nonfinite,
    reduce,
    single_precision,
)
from el_plugins.losses.kernels import paths
from el_plugins.losses.kernels.focal_function import Focal, FocalLoss, halting_shift

HALTS = ("foreground", "both", "authors")


def sigmoid_halted_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
    *,
    halt: str = "foreground",
    halt_threshold: float = 0.5,
) -> Tensor:
    r"""Focal loss below a boundary phi, cross-entropy (shifted to meet it) above.

    With ``p_t = p t + (1-p)(1-t)``, ``p = sigmoid(inputs)`` and ``alpha_t = alpha t + (1-alpha)(1-t)``

    .. math::
        L = -\alpha_t (1-p_t)^\gamma \log p_t \quad\text{(focal)}, \qquad
        L = -\alpha_t (\log p_t + b) \quad\text{(halted)}, \quad b = ((1-\phi)^\gamma - 1) \log \phi

    Eq. 11 of the paper, whose printed b has the opposite sign and a stray alpha; this one makes the
    pieces meet. Which elements are halted is ``halt``:

    - ``foreground``: t = 1 and p_t > phi. Well-classified objects are no longer down-weighted.
    - ``both``: every element with p_t > phi, Eq. 11 to the letter. Each easy background element then
      counts about -0.17 (alpha 0.5, gamma 1, phi 0.5), which swamps a detector's loss.
    - ``authors``: every element with p > phi whatever its label, as the released code ran for
      Table 10; misclassified background gets cross-entropy shifted to meet focal loss at p = phi.

    Args:
        inputs: logits, floating, any shape; for class indices (..., K). fp16 and bf16 are computed
            in fp32.
        targets: 0 or 1 in the shape of ``inputs``, or integer class indices in its shape without the
            last dimension: 0 to K-1 an object, K background, negative ignored (exactly 0).
        alpha: weight of t = 1, in [0, 1]; negative for no weighting.
        gamma: focusing exponent >= 0.
        reduction: ``none``, ``mean`` (over the elements not ignored; 0 when there are none) or
            ``sum``.
        halt: ``foreground``, ``both`` or ``authors``.
        halt_threshold: phi in (0, 1]; 1 halts nothing: plain focal loss.

    Returns:
        float32 (float64 for float64 input): a scalar, or the shape of ``inputs``.

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype. Target values are
            checked on CPU in eager mode only.
    """
    check_focal_options(alpha, gamma, reduction, halt, halt_threshold)
    check_floating("inputs", inputs)
    is_classes = targets.dim() == inputs.dim() - 1
    if is_classes:
        check_class_indices(targets, inputs)
        count: Tensor | int = (targets >= 0).sum() * inputs.size(-1)
    else:
        check_dense_binary("targets", targets, inputs)
        count = inputs.numel()
    settings = Focal(alpha, gamma, halt, halt_threshold)
    path = paths.chosen(inputs)
    if path == "formula":
        loss = focal_formula(inputs, targets, settings)
    else:
        classes = inputs.size(-1) if inputs.dim() else 1
        rows = targets.numel() // (1 if is_classes else max(classes, 1))
        flat = targets.reshape(rows, 1 if is_classes else classes)
        summed = reduction != "none"
        loss = FocalLoss.apply(inputs.reshape(rows, classes), flat, is_classes, settings, path, summed)
        loss = loss if summed else loss.view(inputs.shape)
    return reduce(loss, reduction, count)


def focal_formula(inputs: Tensor, targets: Tensor, settings: Focal) -> Tensor:
    """Loss of each element by differentiable torch operations, for checked arguments: the kernels' oracle."""
    x = single_precision(inputs)
    if targets.dim() == inputs.dim():
        return keep_nonfinite(focal_elements(x, targets.bool(), *settings), x.isfinite())
    kept = targets.unsqueeze(-1) >= 0
    x = x.masked_fill(~kept, 0)
    positive = targets.unsqueeze(-1) == torch.arange(x.size(-1), device=x.device)
    loss = keep_nonfinite(focal_elements(x, positive, *settings), x.isfinite())
    return loss.masked_fill(~kept, 0)


def focal_elements(
    x: Tensor, positive: Tensor, alpha: float, gamma: float, halt: str, halt_threshold: float
) -> Tensor:
    """Loss of each element, by differentiable torch operations.

    Args:
        x: logits, float32 or float64, any shape.
        positive: bool, the shape of ``x``: t = 1.
        alpha, gamma, halt, halt_threshold: as in :func:`sigmoid_halted_focal_loss`.

    Returns:
        The shape and dtype of ``x``.
    """
    signed = torch.where(positive, x, -x)  # logit of p_t
    log_p = F.logsigmoid(signed)
    # (1-p_t)**gamma through its logarithm: a pow has an infinite slope at 0 for gamma < 1.
    loss = -(gamma * F.logsigmoid(-signed)).exp() * log_p
    if halt_threshold < 1:
        boundary = math.log(halt_threshold) - math.log1p(-halt_threshold)
        confident = signed if halt == "both" else x
        halted = confident > boundary
        shift = halting_shift(halt_threshold, gamma) * torch.ones_like(x)
        if halt == "foreground":
            halted = halted & positive
        elif halt == "authors":
            shift = torch.where(positive, shift, halting_shift(1 - halt_threshold, gamma))
        loss = torch.where(halted, -(log_p + shift), loss)
    if alpha >= 0:
        loss = loss * torch.where(positive, torch.tensor(alpha, dtype=x.dtype, device=x.device), 1 - alpha)
    return loss


def check_class_indices(targets: Tensor, inputs: Tensor) -> None:
    """Raise ValueError unless ``targets`` are class indices for ``inputs``."""
    if targets.is_floating_point() or targets.dtype == torch.bool or targets.shape != inputs.shape[:-1]:
        raise ValueError(
            f"targets must be integer class indices of shape {tuple(inputs.shape[:-1])} or 0/1 of shape "
            f"{tuple(inputs.shape)}, got {targets.dtype} of shape {tuple(targets.shape)}"
        )
    classes = inputs.size(-1)
    check_values(
        lambda t: t <= classes,
        targets,
        f"targets must be class indices below {classes}, {classes} for background or negative for ignored",
    )


def check_focal_options(alpha: float, gamma: float, reduction: str, halt: str, halt_threshold: float) -> None:
    """Raise ValueError for an option of :func:`sigmoid_halted_focal_loss` that is out of range."""
    check_number("alpha", alpha, high=1.0)
    check_number("gamma", gamma, low=0.0)
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("halt", halt, HALTS)
    check_number("halt_threshold", halt_threshold, above=0.0, high=1.0)


class SigmoidHaltedFocalLoss(nn.Module):
    """:func:`sigmoid_halted_focal_loss` as a module; arguments checked at construction."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        reduction: str = "none",
        *,
        halt: str = "foreground",
        halt_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        check_focal_options(alpha, gamma, reduction, halt, halt_threshold)
        self.alpha = alpha
        self.gamma = gamma
        self.reduction = reduction
        self.halt = halt
        self.halt_threshold = halt_threshold

    def extra_repr(self) -> str:
        """Settings, for ``print(module)``."""
        return (
            f"alpha={self.alpha}, gamma={self.gamma}, reduction={self.reduction!r}, "
            f"halt={self.halt!r}, halt_threshold={self.halt_threshold}"
        )

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``inputs`` against 0/1 or class-index ``targets``."""
        return sigmoid_halted_focal_loss(
            inputs,
            targets,
            self.alpha,
            self.gamma,
            self.reduction,
            halt=self.halt,
            halt_threshold=self.halt_threshold,
        )
