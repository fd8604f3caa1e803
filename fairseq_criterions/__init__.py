"""fairseq's side of the plugin: importing it registers the criterion and lets checkpoints load safely."""

from el_plugins.checkpoints.safe_loading import allow_fairseq_classes
from fairseq_criterions.config import EncouragingLabelSmoothedCrossEntropyCriterionConfig
from fairseq_criterions.encouraging import EncouragingLabelSmoothedCrossEntropyCriterion

__all__ = [
    "EncouragingLabelSmoothedCrossEntropyCriterion",
    "EncouragingLabelSmoothedCrossEntropyCriterionConfig",
]

allow_fairseq_classes()
