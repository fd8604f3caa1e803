"""Adversarial robustness, and adversarial training (section 4.4, Figures 7 and 8, Tables 7 and 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import (
    AutoAttack,
    AutoProjectedGradientDescent,
    FastGradientMethod,
    ProjectedGradientDescentPyTorch,
    SquareAttack,
)
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from el_plugins.losses import EncouragingLoss
from el_plugins.metrics import margin, require_finite
from experiments.studies.data import load
from experiments.studies.models import Classifier
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Results, Study
from experiments.studies.training import Loss, accuracy, classifier

EPSILONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # L-infinity, of pixels in [0, 1]
EPSILONS_L2 = (0.3, 1.0)
MARGIN = "median margin"
STEPS = 40
STEP, STEP_L2 = 2 / 255, 0.2
TRAINED_WITH = 0.3
CLEAN = "no attack"
# Shares of images where float32 leaves cross-entropy no gradient to attack by, or none whose norm is above 0.
MASKED, MASKED_L2 = "without gradient", "without gradient, L2"


@dataclass(frozen=True)
class System:
    """A loss, and the attack (if any) on the images that are trained on."""

    loss: Loss
    attack: str | None = None


def art_classifier(model: nn.Module, images: Tensor, classes: int) -> PyTorchClassifier:
    """``model`` for the toolbox; attacks maximise cross-entropy, whatever it was trained with."""
    loss = nn.CrossEntropyLoss(reduction="sum")  # a mean's gradients vanish sooner
    return PyTorchClassifier(
        model, loss, tuple(images.shape[1:]), classes, clip_values=(0.0, 1.0),
        device_type="gpu" if images.is_cuda else "cpu",
    )  # fmt: skip


def attack(name: str, target: PyTorchClassifier, epsilon: float) -> Any:
    """FGSM, PGD or AutoAttack at ``epsilon`` in the L-infinity norm; in L2 if the name ends so."""
    norm = 2 if name.endswith("L2") else np.inf
    if name == "FGSM":
        return FastGradientMethod(target, eps=epsilon, batch_size=256)
    if name.startswith("PGD"):
        step = STEP_L2 if norm == 2 else STEP
        return ProjectedGradientDescentPyTorch(
            target, norm, epsilon, step, max_iter=STEPS, num_random_init=1, batch_size=256, verbose=False
        )
    shared = {"norm": norm, "eps": epsilon, "batch_size": 256, "verbose": False}
    gradient = [
        AutoProjectedGradientDescent(
            target, eps_step=epsilon / 4, max_iter=20, nb_random_init=1, loss_type=loss_type, **shared
        )
        for loss_type in ("cross_entropy", "difference_logits_ratio")
    ]
    for one in gradient:
        one.estimator.loss_gradient = scaled(one.estimator.loss_gradient)
    square = SquareAttack(target, max_iter=200, nb_restarts=1, **shared)
    return AutoAttack(target, norm, epsilon, epsilon / 4, attacks=[*gradient, square], batch_size=256)


def scaled(loss_gradient: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """``loss_gradient`` over the largest entry of each image's.

    In L2 APGD adds 1e-7 to the norm that it divides by, and so hardly moves where a model is sure.
    """

    def scaled_gradient(*arguments: Any, **options: Any) -> np.ndarray:
        gradient = loss_gradient(*arguments, **options)
        largest = np.abs(gradient).max(axis=tuple(range(1, gradient.ndim)), keepdims=True)
        return gradient / np.where(largest == 0, 1, largest)

    return scaled_gradient


def perturb(model: Classifier, images: Tensor, classes: Tensor, name: str) -> Tensor:
    """``images`` under attack, for training on them."""
    mode = model.training
    target = art_classifier(model.eval(), images, model.head.out_features)
    moved = attack(name, target, TRAINED_WITH).generate(images.cpu().numpy(), classes.cpu().numpy())
    model.train(mode)
    return torch.as_tensor(moved, device=images.device)


def masked(target: PyTorchClassifier, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """:data:`MASKED` and :data:`MASKED_L2` in per cent: images (N, ...) float32, labels (N,)."""
    gradients = target.loss_gradient(images, np.eye(target.nb_classes)[labels])
    slopes = torch.as_tensor(gradients).flatten(start_dim=1)
    require_finite(gradients=slopes)
    # The norm's squares vanish long before the gradient does.
    norms = {MASKED: slopes.abs().amax(dim=1), MASKED_L2: torch.linalg.norm(slopes, dim=1)}
    return {name: 100 * (norm == 0).double().mean().item() for name, norm in norms.items()}


def run(settings: Settings, system: System, seed: int) -> Mapping[str, Any]:
    """Train, on images under attack if the system says so; accuracy in per cent under every attack."""
    images = load(settings, seed)
    hook = partial(perturb, name=system.attack) if system.attack else None
    model = classifier(settings, images, seed, system.loss, perturb=hook)
    # A folder's images stand class by class.
    order = torch.randperm(len(images.test), generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    pairs = [images.test[int(number)] for number in order[: settings.attacked]]
    pixels = torch.stack([image for image, _ in pairs]).to(next(model.parameters()).device)
    labels = np.array([int(label) for _, label in pairs])
    target = art_classifier(model, pixels, images.classes)
    x = pixels.cpu().numpy()

    def right(moved: np.ndarray) -> float:
        return accuracy(torch.as_tensor(target.predict(moved)), torch.as_tensor(labels[: len(moved)]))

    measures = {CLEAN: right(x), **masked(target, x, labels)}
    margins = margin(torch.as_tensor(target.predict(x)), torch.as_tensor(labels))
    measures[MARGIN] = margins.median().item()
    for name, epsilons in (("FGSM", EPSILONS), ("PGD", EPSILONS), ("PGD L2", EPSILONS_L2)):
        for epsilon in epsilons:
            measures[f"{name} {epsilon:g}"] = right(attack(name, target, epsilon).generate(x, labels))
    first = settings.auto_attacked
    for name, epsilons in (("AutoAttack", EPSILONS[:2]), ("AutoAttack L2", EPSILONS_L2)):
        for epsilon in epsilons:
            moved = attack(name, target, epsilon).generate(x[:first], labels[:first])
            measures[f"{name} {epsilon:g}"] = right(moved)
    return measures


def by_epsilon(axes: Any, results: Results) -> None:
    """Figure 7: accuracy against the strength of FGSM (lines) and PGD (dashes)."""
    for number, (name, by_seed) in enumerate(results.items()):
        for kind, style in (("FGSM", "-"), ("PGD", "--")):
            means = [np.mean([one[f"{kind} {e:g}"] for one in by_seed.values()]) for e in EPSILONS]
            axes.plot(EPSILONS, means, style, color=f"C{number}", marker="o", label=f"{name}, {kind}")
    axes.set(xlabel="epsilon (L-infinity)", ylabel="accuracy (%)")
    axes.legend(fontsize="small")


MEASURES = [CLEAN, MASKED, MASKED_L2, MARGIN]
MEASURES += [f"{name} {e:g}" for name in ("FGSM", "PGD") for e in EPSILONS]
MEASURES += [f"PGD L2 {e:g}" for e in EPSILONS_L2] + [f"AutoAttack {e:g}" for e in EPSILONS[:2]]
MEASURES += [f"AutoAttack L2 {e:g}" for e in EPSILONS_L2]
STUDY = Study(
    title="Adversarial robustness",
    paper="Section 4.4, Figures 7 and 8, Tables 7 and 11 of the paper (MNIST)",
    systems={
        "CE": System(nn.CrossEntropyLoss()),
        "EL 1": System(EncouragingLoss(log_end=1.0)),
        "CE, FGSM training": System(nn.CrossEntropyLoss(), "FGSM"),
        "EL 1, FGSM training": System(EncouragingLoss(log_end=1.0), "FGSM"),
    },
    run=run,
    measures=dict.fromkeys(MEASURES, "{:.1f}"),
    claims=[
        Claim("EL 1", "CE", "FGSM 0.1", "higher (Figure 7)"),
        Claim("EL 1", "CE", "PGD 0.1", "higher (Figure 7)"),
        Claim("EL 1", "CE", "PGD L2 1", "higher (Figure 7)"),
        Claim("EL 1", "CE", "AutoAttack 0.05", "93.51 to 94.99 (Table 11)"),
        Claim("EL 1", "CE", "AutoAttack 0.1", "74.89 to 79.31 (Table 11)"),
        Claim("EL 1", "CE", "AutoAttack L2 0.3", "96.76 to 97.54 (Table 11)"),
        Claim("EL 1", "CE", "AutoAttack L2 1", "80.76 to 84.03 (Table 11)"),
        Claim("EL 1, FGSM training", "CE, FGSM training", CLEAN, "95.43 to 97.21 (Table 7)"),
        Claim("EL 1, FGSM training", "CE, FGSM training", "FGSM 0.1", "91.01 to 95.18 (Table 7)"),
        Claim("EL 1, FGSM training", "CE, FGSM training", "FGSM 0.3", "87.87 to 94.15 (Table 7)"),
        Claim("EL 1, FGSM training", "CE, FGSM training", MARGIN, "larger (Figure 8)"),
    ],
    figures={"epsilon": by_epsilon},
    note="Attacks by the adversarial-robustness-toolbox on the test images that `attacked` and "
    f"`auto_attacked` count: PGD from a random start, {STEPS} steps of 2/255 (L2: {STEP_L2:g}), as the "
    "authors' is; AutoAttack shortened (APGD of 20 steps with both losses, 200 queries of Square), each "
    "image's gradient scaled. FGSM and PGD climb cross-entropy: where a model is so sure that its gradient, "
    "or in L2 the gradient's norm, is exactly 0 in float32 (the shares without gradient) they cannot climb, "
    "which is no robustness. "
    "AutoAttack also climbs the difference of logits.",
)
