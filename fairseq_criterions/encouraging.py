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
from el_plugins.losses.encouraging import check_options
from el_plugins.losses.linear import linear_row_losses
from el_plugins.losses.rows import fused_row_losses
from fairseq_criterions.outputs import AsFeatures, AsLogits, may_overwrite, output_projection


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
    fused_output_layer: bool = field(
        default=False,
        metadata={
            "help": "compute the loss from the decoder's features and the output layer's matrix, some tokens "
            "at a time: same loss and gradients, without the memory of the logits (Transformer decoders)"
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
        fused_output_layer=False,
    ):
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        check_options("sum", label_smoothing, smoothing)
        self.bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent)
        self.smoothing = smoothing
        self.fused_output_layer = fused_output_layer
        if fused_output_layer and report_accuracy:
            raise ValueError("--report-accuracy needs the logits that --fused-output-layer avoids: drop one")

    def forward(self, model, sample, reduce=True):
        """As the stock criterion's: (loss, sample size, logging outputs)."""
        if self.fused_output_layer:
            output_projection(model)
            sample = {**sample, "net_input": {**sample["net_input"], "features_only": True}}
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
        # In its stead fairseq's own method takes care of ignored prefixes, for logits and features alike.
        stand_in = AsFeatures(model) if self.fused_output_layer else AsLogits(model)
        output, target = self.get_lprobs_and_target(stand_in, net_output, sample)
        kept = target != self.padding_idx
        options = (None, self.eps, self.smoothing, self.bonus)
        if self.fused_output_layer:
            layer = output_projection(model)
            losses, log_p = linear_row_losses(
                output, layer.weight, layer.bias, target, kept, *options, summed=reduce
            )
        else:
            losses, log_p = fused_row_losses(output, target, kept, *options, inplace=may_overwrite(output))
        self.well_classified = ((log_p > math.log(0.5)) & kept).sum()
        if reduce:
            return losses.sum(), -log_p.sum()
        return losses.unsqueeze(-1), -log_p.unsqueeze(-1)

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
