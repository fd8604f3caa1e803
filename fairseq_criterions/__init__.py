"""fairseq's side of the plugin: importing it registers the criterion and lets checkpoints load safely."""

from types import SimpleNamespace

import numpy as np

from el_plugins.checkpoints.safe_loading import allow_fairseq_classes
from fairseq_criterions.config import EncouragingLabelSmoothedCrossEntropyCriterionConfig
from fairseq_criterions.encouraging import EncouragingLabelSmoothedCrossEntropyCriterion

__all__ = [
    "EncouragingLabelSmoothedCrossEntropyCriterion",
    "EncouragingLabelSmoothedCrossEntropyCriterionConfig",
]

allow_fairseq_classes()
if not hasattr(np, "compat"):
    # numpy 2 has none; fairseq asks it for Python's int in --sample-break-mode eos.
    np.compat = SimpleNamespace(long=int)  # type: ignore[attr-defined]
