"""Focal loss that stops down-weighting well-classified examples (Eq. 10 and 11, Table 10)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from el_plugins.losses.focal_reference import focal_losses
from el_plugins.losses.kernels import backends
from el_plugins.losses.kernels.focal import FocalSettings
from el_plugins.losses.kernels.focal_function import FocalLoss
from el_plugins.losses.kernels.focal_sum import focal_sum
from el_plugins.losses.numerics import REDUCTIONS, reduce
from el_plugins.losses.validation import (
    check_choice,
    check_dense_target,
    check_floating,
    check_number,
    check_values,
    holds_indices,
)

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

    Eq. 11 of the paper, whose printed b has the opposite sign and a stray alpha; with this b the two
    pieces meet. Which elements are halted is ``halt``:

    - ``foreground``: t = 1 and p_t > phi. Well-classified objects are no longer down-weighted.
    - ``both``: every element with p_t > phi, Eq. 11 to the letter. Each easy background element then
      counts about -0.17 (alpha 0.5, gamma 1, phi 0.5), which swamps a detector's loss.
    - ``authors``: every element with p > phi whatever its label, as the released code ran for
      Table 10; misclassified background gets cross-entropy shifted to meet focal loss at p = phi.

    A soft target in (0, 1), of label smoothing, mixup or distillation, is the probability of the label 1, and
    the loss is its expectation,

    .. math:: L(t) = t \, L(1) + (1-t) \, L(0),

    each with its own alpha, p_t and boundary. Other losses define soft targets differently:

    - torchvision's and fvcore's focal loss puts t into p_t and alpha_t, so that at t = 1/2 the factor
      (1-p_t)^gamma is 2^-gamma for every p.
    - Quality focal loss has the factor \|t-p\|^gamma and its minimum at p = t. The mixture for gamma > 0
      has it elsewhere, since focal loss, halted or not, is not a proper scoring rule.
    - Varifocal loss is, for t > 0, t times the mixture with ``gamma=0, alpha=-1, halt_threshold=1``; for
      t = 0 it is this loss of background, whose alpha is 1 - alpha here.

    Args:
        inputs: logits, floating, any shape; for class indices (..., K). fp16 and bf16 are computed
            in fp32.
        targets: in the shape of ``inputs``, floating from 0 to 1, or 0 or 1 in another dtype; or integer
            class indices in its shape without the last dimension: 0 to K-1 an object, K background,
            negative ignored (exactly 0).
        alpha: weight of t = 1, in [0, 1]; negative for no weighting.
        gamma: focusing exponent >= 0.
        reduction: ``none``, ``mean`` (over the elements not ignored; 0 when there are none) or
            ``sum``.
        halt: ``foreground``, ``both`` or ``authors``.
        halt_threshold: phi in (0, 1]; 1 halts nothing: plain focal loss.

    Returns:
        float32 (float64 for float64 input): a scalar, or the shape of ``inputs``. Differentiable once; for
        second derivatives compute it inside ``with el_plugins.losses.kernels.use("formula")``. ``targets``
        that require a gradient select the formula, which has one for them.

    Raises:
        ValueError: an argument is out of range or of the wrong shape or dtype. Target values are
            checked on CPU in eager mode only; elsewhere one out of range makes its element, or the row of
            its class index, NaN in loss and gradient.
    """
    check_focal_options(alpha, gamma, reduction, halt, halt_threshold)
    return focal_loss(inputs, targets, FocalSettings(alpha, gamma, halt, halt_threshold), reduction)


def focal_loss(
    inputs: Tensor, targets: Tensor, settings: FocalSettings, reduction: str, divisor: float = 1
) -> Tensor:
    """:func:`sigmoid_halted_focal_loss` with checked options; a sum is taken over ``divisor``.

    On a GPU a divisor that is known in forward saves backward a pass over the gradient.
    """
    check_floating("inputs", inputs)
    count: Tensor | int = inputs.numel()
    if targets.dim() == inputs.dim() - 1:
        targets = class_indices(targets, inputs)
        if reduction == "mean":
            count = (targets >= 0).sum() * inputs.size(-1)
    else:
        check_dense_target("targets", targets, inputs)
    # The kernels have no gradient of the targets.
    path = "formula" if targets.requires_grad else backends.chosen(inputs)
    if path == "formula":
        loss = reduce(focal_losses(inputs, targets, settings), reduction, count)
        return loss / divisor if reduction == "sum" else loss
    x, flat = as_rows(inputs, targets)
    if reduction == "none":
        return FocalLoss.apply(x, flat, settings, path, False).view(inputs.shape)
    if reduction == "sum":
        return focal_sum(x, flat, settings, path, divisor)
    elements: Any = count.clamp(min=1) if isinstance(count, Tensor) else torch.sym_max(count, 1)
    return focal_sum(x, flat, settings, path, elements)


def class_indices(targets: Tensor, inputs: Tensor) -> Tensor:
    """Checked class indices for ``inputs``, in int32 or int64: narrower dtypes overflow in comparisons.

    Raises:
        ValueError: not an integer dtype, or the wrong shape, or, where values are read, an index above K.
    """
    if not holds_indices(targets) or targets.shape != inputs.shape[:-1]:
        raise ValueError(
            f"targets must be integer class indices of shape {tuple(inputs.shape[:-1])} or from 0 to 1 of "
            f"shape {tuple(inputs.shape)}, got {targets.dtype} of shape {tuple(targets.shape)}"
        )
    if targets.dtype not in (torch.int32, torch.int64):
        targets = targets.int() if targets.element_size() < 4 else targets.long()
    classes = inputs.size(-1)
    check_values(
        lambda t: t <= classes,
        targets,
        f"targets must be class indices below {classes}, {classes} for background or negative for ignored",
    )
    return targets


def as_rows(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """``inputs`` as (n, K), and ``targets`` as (n) class indices or, if they are dense, (n, K)."""
    classes = inputs.size(-1) if inputs.dim() else 1
    if targets.dim() < inputs.dim():
        return inputs.reshape(targets.numel(), classes), targets.reshape(-1)
    shape = (inputs.numel() // max(classes, 1), classes)
    return inputs.reshape(shape), targets.reshape(shape)


def check_focal_options(
    alpha: float,
    gamma: float,
    reduction: str,
    halt: str,
    halt_threshold: float,
    shown: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise ValueError for an option of :func:`sigmoid_halted_focal_loss` that is out of range.

    Args:
        shown: what messages call an option, where not by its name.
    """
    check_number(shown.get("alpha", "alpha"), alpha, high=1.0)
    check_number(shown.get("gamma", "gamma"), gamma, low=0.0)
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice(shown.get("halt", "halt"), halt, HALTS)
    check_number(shown.get("halt_threshold", "halt_threshold"), halt_threshold, above=0.0, high=1.0)


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
        """Loss of ``inputs`` against dense or class-index ``targets``."""
        return sigmoid_halted_focal_loss(
            inputs,
            targets,
            self.alpha,
            self.gamma,
            self.reduction,
            halt=self.halt,
            halt_threshold=self.halt_threshold,
        )
