"""Image classification: where the log bonus ends, and the learning rate (Figure 4, Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from el_plugins.losses import EncouragingLoss
from experiments.studies.data import load
from experiments.studies.settings import Settings
from experiments.studies.study import Claim, Results, Study
from experiments.studies.training import Loss, accuracy, apply, classifier

LOG_ENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
ACCURACY, GAP = "accuracy", "train - test"


def run(settings: Settings, system: tuple[Loss, float], seed: int) -> Mapping[str, Any]:
    """Train with a loss and a factor of the learning rate; accuracy, and by how much training's is higher."""
    loss, lr = system
    images = load(settings, seed)
    model = classifier(settings, images, seed, loss, lr)
    test = accuracy(*apply(model, images.test, settings))
    return {ACCURACY: test, GAP: accuracy(*apply(model, images.trained_on(), settings)) - test}


def by_log_end(axes: Any, results: Results) -> None:
    """Figure 4: accuracy against log_end, with cross-entropy as a line."""
    ends = [end for end in LOG_ENDS if f"EL {end:g}" in results]
    values = [[one[ACCURACY] for one in results[f"EL {end:g}"].values()] for end in ends]
    deviations = [np.std(each, ddof=1) if len(each) > 1 else 0 for each in values]
    axes.errorbar(ends, [np.mean(each) for each in values], deviations, marker="o", capsize=3, label="EL")
    if "CE" in results:
        baseline = np.mean([one[ACCURACY] for one in results["CE"].values()])
        axes.axhline(baseline, color="black", linestyle="--", label="CE")
    axes.set(xlabel="log_end", ylabel="accuracy (%)")
    axes.legend()


STUDY = Study(
    title="Classification: log_end and the learning rate",
    paper="Figure 4, Tables 1 and 2 and appendix C.2 of the paper",
    systems={
        "CE": (nn.CrossEntropyLoss(), 1.0),
        **{f"EL {end:g}": (EncouragingLoss(log_end=end), 1.0) for end in LOG_ENDS},
        "CE, 2 x lr": (nn.CrossEntropyLoss(), 2.0),
        "EL 1, lr / 2": (EncouragingLoss(log_end=1.0), 0.5),
    },
    run=run,
    measures={ACCURACY: "{:.2f}", GAP: "{:.2f}"},
    claims=[
        Claim("EL 0.75", "CE", ACCURACY, "92.34 to 92.97 (CIFAR-10), 75.49 to 76.43 (ImageNet; Table 1)"),
        Claim("EL 1", "CE", ACCURACY, "92.34 to 92.74 (Table 2, CIFAR-10)"),
        Claim("EL 1, lr / 2", "EL 1", ACCURACY, "92.74 to 93.69 (Table 2, CIFAR-10)"),
        Claim("CE, 2 x lr", "CE", ACCURACY, "92.34 to 91.53 (Table 2, CIFAR-10)", lower=True),
        Claim("EL 1", "CE", GAP, "2 points less (C.2, CIFAR-10)", lower=True),
    ],
    figures={"log_end": by_log_end},
)
