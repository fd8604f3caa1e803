"""Focal against halted focal loss in long-tailed classification (Table 9)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from el_plugins.losses import sigmoid_halted_focal_loss
from el_plugins.metrics import SHOTS, log_odds
from experiments.studies.long_tail import EPOCHS, OVERALL, System, run
from experiments.studies.study import Claim, Study

GAMMA = 1.0


def softmax_loss(logits: Tensor, target: Tensor, halt_threshold: float) -> Tensor:
    """Mean of the focal loss of the target's softmax probability, which is the sigmoid of its log-odds.

    Eq. 10, and with ``halt_threshold`` below 1 Eq. 11.
    """
    odds = log_odds(logits, target)
    return sigmoid_halted_focal_loss(
        odds, torch.ones_like(odds), -1, GAMMA, reduction="mean", halt_threshold=halt_threshold
    )


STUDY = Study(
    title="Focal and halted focal loss in classification",
    paper="Table 9 of the paper (iNaturalist 2018)",
    systems={
        "focal": System(partial(softmax_loss, halt_threshold=1.0)),
        "halted focal": System(partial(softmax_loss, halt_threshold=0.5)),
    },
    run=run,
    measures=dict.fromkeys((OVERALL, *SHOTS), "{:.1f}"),
    claims=[
        Claim("halted focal", "focal", OVERALL, "62.9 to 63.6"),
        Claim("halted focal", "focal", "few", "58.8 to 59.7"),
    ],
    defaults={"epochs": EPOCHS},
    note=f"Gamma {GAMMA:g}, no alpha.",
    note_at_hand="The long tail of the study above.",
)
