"""How sure a difference is: over seeds by a paired t-test, over test sentences by sacrebleu's tests."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sacrebleu

from el_plugins.nmt.scoring import TOKENISED, metrics, paired_test
from el_plugins.workflow.results import write_json

METRICS = (TOKENISED, *metrics())
CAVEATS = """\
Over seeds: the mean difference to the baseline of the same seed, its 95 % confidence interval and the p-value
of a paired t-test. They cover how training varies from seed to seed, on this test set; with few seeds only a
large difference can show. Over sentences: p-values of paired bootstrap (1,000 resamples) and approximate
randomisation (10,000 trials) between two trained models. They cover which sentences are in the test set, not
that another seed trains another model. Nothing here covers another corpus, another budget or another model
size, and no p-value is corrected for the number of comparisons.
"""


def verdict(metric: str, comparison: Mapping[str, Any]) -> str:
    """A comparison over seeds as a word: better, worse, or not told apart at the 5 % level."""
    p_value, difference = comparison["p_value"], comparison["difference"]
    if p_value is None or math.isnan(p_value) or p_value >= 0.05:
        return "not told apart"
    return "better" if (difference > 0) != (metric == "ter") else "worse"


def over_sentences(
    translations: Mapping[str, Sequence[str]], references: Sequence[str], cache: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """p-values of both of sacrebleu's paired tests, by test ("bs", "ar"), system and metric.

    They take minutes for a large test set, so they are kept in the folder ``cache`` under a name made of
    the translations and the references.
    """
    made_by = [sacrebleu.__version__, os.environ.get("SACREBLEU_SEED")]
    content = json.dumps([made_by, list(translations.items()), list(references)], default=list)
    path = cache / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_json(path, {test: paired_test(translations, references, test) for test in ("bs", "ar")})
    return json.loads(path.read_text(encoding="utf-8"))
