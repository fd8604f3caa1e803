"""Encouraging loss as a fairseq criterion: the stock label-smoothed cross-entropy plus a bonus."""

# No postponed annotations here: fairseq reads the config's field types as types.
import math
from dataclasses import dataclass, field
from typing import Optional

from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics

from el_plugins.losses.bonuses import BONUSES, Bonus
from el_plugins.losses.encouraging import check_options, encouraging_loss


@dataclass
class EncouragingLabelSmoothedCrossEntropyCriterionConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """The stock criterion's settings and the bonus'."""

    log_end: float = field(
        default=0.5,
        metadata={
            "help": "probability in [0, 1] above which the log bonus goes on as a straight line: 1 is the "
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
    smoothing: str = field(
        default="fairseq",
        metadata={
            "help": "who shares the smoothed mass: fairseq (all tokens but the target, as fairseq's "
            "label_smoothed_cross_entropy) or uniform (all tokens, as torch and the paper)"
        },
    )


@register_criterion(
    "encouraging_label_smoothed_cross_entropy",
    dataclass=EncouragingLabelSmoothedCrossEntropyCriterionConfig,
)
class EncouragingLabelSmoothedCrossEntropyCriterion(LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed cross-entropy plus a bonus for well-classified tokens (Eq. 6 of the paper).

    ``nll_loss`` and ``ppl`` stay plain cross-entropy, so they compare across losses; ``loss`` may be
    negative. Also logs ``well_classified``, the share of target tokens with p > 1/2.

    Raises:
        ValueError: a setting is out of range (when built), or the model has an adaptive softmax and so
            no full distribution over the vocabulary (when called).
    """

    def __init__(
        self,
        task,
        sentence_avg,
        label_smoothing,
        ignore_prefix_size=0,
        report_accuracy=False,
        log_end=0.5,
        bonus="log",
        bonus_weight=1.0,
        bonus_start=None,
        bonus_exponent=2.0,
        smoothing="fairseq",
    ):
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        check_options("sum", label_smoothing, smoothing)
        self.bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent)
        self.smoothing = smoothing

    def forward(self, model, sample, reduce=True):
        """As the stock criterion's: (loss, sample size, logging outputs)."""
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        logging_output["well_classified"] = self.well_classified
        return loss, sample_size, logging_output

    def compute_loss(self, model, net_output, sample, reduce=True):
        """(loss, nll_loss), both summed if ``reduce`` else a column of one row a token, 0 at padding.

        Leaves the number of well-classified tokens in ``self.well_classified`` for the log.
        """
        if getattr(getattr(model, "decoder", model), "adaptive_softmax", None) is not None:
            raise ValueError(
                f"encouraging_ls needs the full distribution over the vocabulary, but "
                f"{type(model).__name__} has an adaptive softmax: drop --adaptive-softmax-cutoff, "
                f"or train with --criterion adaptive_loss"
            )
        # Log-probabilities are logits too: the loss does not change when a row is shifted.
        lprobs, target = self.get_lprobs_and_target(model, net_output, sample)
        loss = encouraging_loss(
            lprobs,
            target,
            ignore_index=self.padding_idx,
            reduction="sum" if reduce else "none",
            label_smoothing=self.eps,
            smoothing=self.smoothing,
            **self.bonus.arguments(),
        )
        target = target.unsqueeze(-1)
        padding = target.eq(self.padding_idx)
        log_p = lprobs.detach().gather(-1, target).masked_fill(padding, 0.0)
        self.well_classified = ((log_p > math.log(0.5)) & ~padding).sum()
        return (loss, -log_p.sum()) if reduce else (loss.unsqueeze(-1), -log_p)

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Aggregate logging outputs from data parallel training."""
        super().reduce_metrics(logging_outputs)
        ntokens = utils.item(sum(log.get("ntokens", 0) for log in logging_outputs))
        well_classified = utils.item(sum(log.get("well_classified", 0) for log in logging_outputs))
        metrics.log_scalar("well_classified", well_classified / ntokens, ntokens, round=4)


@register_criterion("encouraging_ls", dataclass=EncouragingLabelSmoothedCrossEntropyCriterionConfig)
class EncouragingLS(EncouragingLabelSmoothedCrossEntropyCriterion):
    """The same criterion under its short name."""


# A checkpoint stores the criterion's class name and resumes only under the same: these two are one.
EncouragingLS.__name__ = EncouragingLabelSmoothedCrossEntropyCriterion.__name__
