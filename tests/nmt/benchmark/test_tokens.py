"""What is measured of target tokens."""

import numpy as np
import pytest

from tests.commands import PLUGIN, run

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.tokens import target_tokens
from el_plugins.nmt.training_log import training_line


def test_tokens_agree_with_fairseq_validate(corpus, trained):
    model = trained[0] / "checkpoint_best.pt"
    tokens = target_tokens(model, str(corpus[1]))
    options = ["--user-dir", PLUGIN, "--path", model, "--cpu", "--log-format", "json"]
    options += ["--task", "translation", "--batch-size", "1", "--required-batch-size-multiple", "1"]
    lines = map(training_line, run("fairseq-validate", corpus[1], *options).splitlines())
    (figures,) = (line for line in lines if "valid_nll_loss" in line)
    nll = -tokens["log_p"].mean() / np.log(2)
    assert nll == pytest.approx(float(figures["valid_nll_loss"]), abs=2e-3)
    share = (tokens["log_p"] > np.log(0.5)).mean()
    assert share == pytest.approx(float(figures["valid_well_classified"]), abs=1e-4)
    # Above a margin of 0 the target is the most likely; p > 1/2 implies it.
    assert ((tokens["log_p"] <= np.log(0.5)) | (tokens["margin"] > 0)).all()
    words = sum(len(line.split()) + 1 for line in (corpus[0] / "valid.en").open())
    assert all(values.shape == (words,) and values.dtype == np.float32 for values in tokens.values())
