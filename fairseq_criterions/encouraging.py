"""Encouraging loss as a fairseq criterion: the stock label-smoothed cross-entropy plus a bonus."""

import math
from dataclasses import replace

from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import fused_loss
from el_plugins.losses.linear import linear_row_losses
from el_plugins.losses.options import RowOptions, check_options
from el_plugins.losses.schedule import bonus_factor
from fairseq_criterions.config import EncouragingLabelSmoothedCrossEntropyCriterionConfig, check_flags
from fairseq_criterions.outputs import AsFeatures, AsLogits, may_overwrite, output_projection
from fairseq_criterions.updates import follow_updates


@register_criterion(
    "encouraging_label_smoothed_cross_entropy",
    dataclass=EncouragingLabelSmoothedCrossEntropyCriterionConfig,
)
class EncouragingLabelSmoothedCrossEntropyCriterion(LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed cross-entropy plus a bonus for well-classified tokens (Eq. 6 of the paper).

    ``nll_loss`` and ``ppl`` stay plain cross-entropy, so they compare across losses; ``loss`` may be
    negative. Also logs ``well_classified``, the share of target tokens with p > 1/2, and with a schedule
    ``bonus_factor``, the factor of the bonus' weight.

    In training the schedule follows the trainer's number of updates, and validation during it uses the
    bonus of that update. Elsewhere, as in ``fairseq-validate``, the bonus has its full weight.

    Raises:
        ValueError: a setting is out of range or means nothing for the bonus (when built), or the model has an
            adaptive softmax and so no full distribution over the vocabulary (when called).
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
        bonus_eps=1e-5,
        bonus_delay_updates=0,
        bonus_warmup_updates=0,
        bonus_schedule="linear",
        smoothing="fairseq",
        fused_output_layer=False,
    ):
        check_flags(locals())
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        check_options("sum", label_smoothing, smoothing)
        self.full_bonus = Bonus(bonus, log_end, bonus_weight, bonus_start, bonus_exponent, bonus_eps)
        self.schedule = (bonus_delay_updates, bonus_warmup_updates, bonus_schedule)
        self.bonus, self.factor = self.full_bonus, 1.0
        self.is_scheduled = bonus_delay_updates + bonus_warmup_updates > 0
        if self.is_scheduled:
            follow_updates(task, self.set_num_updates)
        self.smoothing = smoothing
        self.fused_output_layer = fused_output_layer

    def set_num_updates(self, num_updates):
        """Set the weight of the bonus to that after ``num_updates`` updates."""
        self.factor = bonus_factor(num_updates, *self.schedule)
        self.bonus = replace(self.full_bonus, weight=self.factor * self.full_bonus.weight)

    def forward(self, model, sample, reduce=True):
        """As the stock criterion's: (loss, sample size, logging outputs)."""
        if self.fused_output_layer:
            output_projection(model)
            sample = {**sample, "net_input": {**sample["net_input"], "features_only": True}}
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        logging_output["well_classified"] = self.well_classified
        logging_output["counted_tokens"] = self.counted_tokens
        if self.is_scheduled:  # as a sum over tokens, since fairseq adds up the logs of its processes
            logging_output["bonus_factor"] = self.factor * self.counted_tokens
        return loss, sample_size, logging_output

    def compute_loss(self, model, net_output, sample, reduce=True):
        """(loss, nll_loss), both summed if ``reduce``, else a column with one row per token, 0 at padding.

        Stores the number of tokens that count (neither padding nor in an ignored prefix) in
        ``self.counted_tokens`` and the number of well-classified ones in ``self.well_classified``.
        """
        if getattr(getattr(model, "decoder", model), "adaptive_softmax", None) is not None:
            raise ValueError(
                f"encouraging_ls needs the full distribution over the vocabulary, but "
                f"{type(model).__name__} has an adaptive softmax: drop --adaptive-softmax-cutoff, "
                f"or train with --criterion adaptive_loss"
            )
        # Through a stand-in, fairseq's own method drops ignored prefixes from logits and features alike.
        stand_in = AsFeatures(model) if self.fused_output_layer else AsLogits(model)
        output, target = self.get_lprobs_and_target(stand_in, net_output, sample)
        valid = target != self.padding_idx
        options = RowOptions(self.bonus, label_smoothing=self.eps, smoothing=self.smoothing)
        if self.fused_output_layer:
            layer = output_projection(model)
            loss, log_p = linear_row_losses(
                output, layer.weight, layer.bias, target, valid, options, summed=reduce
            )
        else:
            # On a GPU the gradient is there before fairseq would read the logits again for the accuracy.
            inplace = may_overwrite(output) and not self.report_accuracy
            reduction = "sum" if reduce else "none"
            loss, log_p = fused_loss(output, target, self.padding_idx, options, reduction, inplace=inplace)
        self.counted_tokens = valid.sum()
        self.well_classified = ((log_p > math.log(0.5)) & valid).sum()
        if reduce:
            return loss, -log_p.sum()
        return loss.unsqueeze(-1), -log_p.unsqueeze(-1)

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Aggregate logging outputs from data parallel training."""
        super().reduce_metrics(logging_outputs)
        counted = utils.item(sum(log.get("counted_tokens", 0) for log in logging_outputs))
        if not counted:
            return
        well_classified = utils.item(sum(log.get("well_classified", 0) for log in logging_outputs))
        metrics.log_scalar("well_classified", well_classified / counted, counted, round=4)
        if any("bonus_factor" in log for log in logging_outputs):
            factor = utils.item(sum(log.get("bonus_factor", 0) for log in logging_outputs)) / counted
            metrics.log_scalar("bonus_factor", factor, weight=0, round=4)  # the latest, as fairseq's lr


@register_criterion("encouraging_ls", dataclass=EncouragingLabelSmoothedCrossEntropyCriterionConfig)
class EncouragingLS(EncouragingLabelSmoothedCrossEntropyCriterion):
    """The same criterion under its short name."""


# A checkpoint stores the criterion's class name and resumes only under the same: these two are one.
EncouragingLS.__name__ = EncouragingLabelSmoothedCrossEntropyCriterion.__name__
