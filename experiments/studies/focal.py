"""Focal against halted focal loss in long-tailed classification (Table 9)."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.metrics import SHOTS
from experiments.studies.long_tail import OVERALL, System, run
from experiments.studies.study import Claim, Study

GAMMA = 1.0


def per_sample(logits: Tensor, target: Tensor, halt_threshold: float) -> Tensor:
    """Sum over classes, mean over rows, of the focal loss of each class's sigmoid."""
    total = sigmoid_halted_focal_loss(
        logits, target, -1, GAMMA, reduction="sum", halt_threshold=halt_threshold
    )
    return total / len(target)


STUDY = Study(
    title="Focal and halted focal loss in classification",
    paper="Table 9 of the paper (iNaturalist 2018)",
    systems={
        "focal": System(partial(per_sample, halt_threshold=1.0)),
        "halted focal": System(partial(per_sample, halt_threshold=0.5)),
    },
    run=run,
    measures=dict.fromkeys((OVERALL, *SHOTS), "{:.1f}"),
    claims=[
        Claim("halted focal", "focal", OVERALL, "62.9 to 63.6"),
        Claim("halted focal", "focal", "few", "58.8 to 59.7"),
    ],
    note=f"Sigmoid of each class, gamma {GAMMA:g}, no alpha.",
    note_at_hand="The long tail of the study above.",
)
