"""The flags of the criterion, and which of them have a meaning together."""

# No postponed annotations here: fairseq reads the config's field types as types.
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig

from el_plugins.losses.bonuses import BONUSES, BONUSES_WITH_START
from el_plugins.losses.schedule import SHAPES
from el_plugins.losses.validation import check_choice, check_count

ANY_BONUS = tuple(name for name in BONUSES if name != "none")
MEANINGFUL_FOR = {
    "log_end": ("log",),
    "bonus_weight": ANY_BONUS,
    "bonus_start": tuple(BONUSES_WITH_START),
    "bonus_exponent": ("power",),
    "bonus_eps": ("log", "aggressive"),
    "bonus_delay_updates": ANY_BONUS,
    "bonus_warmup_updates": ANY_BONUS,
    "bonus_schedule": ANY_BONUS,
}


@dataclass
class EncouragingLabelSmoothedCrossEntropyCriterionConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """The stock criterion's settings and the bonus'."""

    log_end: float = field(
        default=0.5,
        metadata={
            "help": "probability in [0, 1] above which the log bonus continues as a straight line: 1 is the "
            "normal bonus (then try a lower learning rate), 0.5 is safe, 0.75 suits tasks of high "
            "accuracy. The loss may be negative: select checkpoints by nll_loss or BLEU, not by loss"
        },
    )
    bonus: str = field(
        default="log",
        metadata={"help": f"what rewards well-classified tokens: {', '.join(BONUSES)} (cross-entropy)"},
    )
    bonus_weight: float = field(default=1.0, metadata={"help": "weight of the bonus, >= 0"})
    bonus_start: Optional[float] = field(
        default=None,
        metadata={
            "help": "probability in [0, 1) at which the aggressive (default 0.5) or power (default 0) "
            "bonus begins"
        },
    )
    bonus_exponent: float = field(default=2.0, metadata={"help": "exponent > 0 of the power bonus"})
    bonus_eps: float = field(
        default=1e-5,
        metadata={
            "help": "lower bound in [0, 0.5) of 1-p in the log and aggressive bonuses, as the authors ran it;"
            " 0 is Eq. 6 to the letter: unbounded, it diverges at ordinary learning rates"
        },
    )
    bonus_delay_updates: int = field(
        default=0,
        metadata={
            "help": "train this many updates without the bonus first. Validation during the training takes "
            "the bonus of the current update, fairseq-validate the whole bonus"
        },
    )
    bonus_warmup_updates: int = field(
        default=0,
        metadata={"help": "then raise the bonus to its weight over this many updates; 0 is at once"},
    )
    bonus_schedule: str = field(
        default="linear",
        metadata={"help": f"how the bonus rises over its warm-up updates: {', '.join(SHAPES)}"},
    )
    smoothing: str = field(
        default="fairseq",
        metadata={
            "help": "who shares the smoothed mass: fairseq (all tokens but the target, as fairseq's "
            "label_smoothed_cross_entropy) or uniform (all tokens, as torch and the paper)"
        },
    )
    fused_output_layer: bool = field(
        default=False,
        metadata={
            "help": "compute the loss from the decoder's features and the output layer's matrix, some tokens "
            "at a time: same loss and gradients, without the memory of the logits (Transformer decoders)"
        },
    )


def check_flags(options: Mapping[str, Any]) -> None:
    """Raise ValueError for a flag out of range, or one away from its default that means nothing.

    Args:
        options: the settings of :class:`EncouragingLabelSmoothedCrossEntropyCriterionConfig` by name.
    """
    check_choice("bonus", options["bonus"], BONUSES)
    check_choice("bonus_schedule", options["bonus_schedule"], SHAPES)
    for name in ("bonus_delay_updates", "bonus_warmup_updates", "ignore_prefix_size"):
        check_count(name, options[name])
    if options["fused_output_layer"] and options["report_accuracy"]:
        raise ValueError("--report-accuracy needs the logits that --fused-output-layer avoids: drop one")
    fields = EncouragingLabelSmoothedCrossEntropyCriterionConfig.__dataclass_fields__
    given = [name for name in MEANINGFUL_FOR if options[name] != fields[name].default]
    for name in given:
        flag = f"--{name.replace('_', '-')} {options[name]}"
        if name != "bonus_weight" and not options["bonus_weight"]:
            raise ValueError(f"{flag} has no meaning with --bonus-weight 0: drop one of the two")
        if options["bonus"] not in MEANINGFUL_FOR[name]:
            raise ValueError(
                f"{flag} has no meaning with --bonus {options['bonus']}, only with "
                f"--bonus {', '.join(MEANINGFUL_FOR[name])}: drop one of the two"
            )
    if "bonus_schedule" in given and not options["bonus_warmup_updates"]:
        raise ValueError(
            f"--bonus-schedule {options['bonus_schedule']} has no meaning without --bonus-warmup-updates > 0,"
            f" with any of --bonus {', '.join(ANY_BONUS)}: drop it or set those updates"
        )
