"""Logits in place and features in place of logits: the same loss and gradients, on fairseq's own models."""

import copy

import pytest
import torch

from tests.commands import PLUGIN, TINY_MODEL, TRAINING, run

pytest.importorskip("fairseq")

from fairseq.models import BaseFairseqModel

from el_plugins.losses.kernels import use
from fairseq_criterions.outputs import AsLogits, may_overwrite
from tests.fairseq_criterions.criteria import (
    GLOO,
    assert_same_weights,
    criterion_of,
    loss_gradient_log,
    needs_layers_in,
    processes,
)
from tests.marks import long

FUSED = "--fused-output-layer"
MULTILINGUAL = ["--arch", "multilingual_transformer", *TINY_MODEL[2:]]


@pytest.mark.parametrize("reduce", [True, False])
@pytest.mark.parametrize("options", [{}, {"ignore_prefix_size": 1}, {"smoothing": "uniform"}], ids=str)
def test_fused_output_layer_is_the_same_loss(setting, options, reduce):
    model, task, sample = setting
    plain = loss_gradient_log(criterion_of(task, **options), model, sample, reduce)
    fused = loss_gradient_log(criterion_of(task, fused_output_layer=True, **options), model, sample, reduce)
    torch.testing.assert_close(fused[0], plain[0])
    torch.testing.assert_close(fused[2], plain[2])
    torch.testing.assert_close(fused[3], plain[3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fused_output_layer_in_half_precision(setting, dtype):
    model, task, sample = setting
    needs_layers_in(dtype)
    narrow = copy.deepcopy(model).to(dtype)
    plain = loss_gradient_log(criterion_of(task), narrow, sample)
    fused = loss_gradient_log(criterion_of(task, fused_output_layer=True), narrow, sample)
    torch.testing.assert_close(fused[0], plain[0], rtol=1e-3, atol=0)
    assert fused[0].dtype == torch.float32
    for one, other in zip(fused[3], plain[3]):
        assert one.dtype == dtype
        torch.testing.assert_close(one.float(), other.float(), rtol=0.1, atol=0.1)


class Tagger(BaseFairseqModel):
    """A model of one layer that returns a tensor, as fairseq's classification tutorial does."""

    def __init__(self, decoder=None):
        super().__init__()
        self.layer = torch.nn.Linear(3, 7)
        if decoder is not None:
            self.decoder = decoder

    def forward(self, features):
        logits = self.layer(features)
        return (logits, None) if hasattr(self, "decoder") else logits

    def get_normalized_probs(self, net_output, log_probs, sample=None):
        if torch.is_tensor(net_output):
            return super().get_normalized_probs(net_output, log_probs, sample)
        return net_output[0].log_softmax(-1)


class StockTagger(Tagger):
    get_normalized_probs = BaseFairseqModel.get_normalized_probs


@pytest.mark.parametrize("path", ["formula", "chunks"])
@pytest.mark.parametrize(
    "model", [StockTagger(), Tagger(), Tagger(torch.nn.Linear(1, 1))], ids=["stock", "own", "decoder"]
)
def test_models_that_are_no_translators(setting, path, model):
    _, task, _ = setting
    target = torch.tensor([4, 5, 6, 4])
    sample = {"net_input": {"features": torch.randn(4, 3)}, "target": target, "ntokens": 4}
    with use(path):
        loss, *_ = criterion_of(task, bonus="none", label_smoothing=0.0)(model, sample)
    logits = model.layer(sample["net_input"]["features"])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, target, reduction="sum"))


def test_logits_are_taken_as_they_are_and_overwritten(setting):
    model, task, sample = setting
    output = model(**sample["net_input"])
    assert AsLogits(model).get_normalized_probs(output, log_probs=True) is output[0]
    assert may_overwrite(output[0])
    assert may_overwrite(output[0].view(-1, output[0].size(-1)))
    assert not may_overwrite(output[0].tanh())
    assert not may_overwrite(output[0].tanh().view(-1, output[0].size(-1)))
    assert not may_overwrite(output[0].detach().requires_grad_().view(-1))
    before = output[0].detach().clone()
    loss, _ = criterion_of(task).compute_loss(model, output, sample)
    assert torch.equal(output[0], before)
    loss.backward()
    assert not torch.equal(output[0], before)


@pytest.mark.filterwarnings("ignore:.*is computed by plain torch operations")  # without a GPU, that is
def test_accuracy_is_that_of_the_logits_where_forward_would_overwrite_them(setting):
    model, task, sample = setting
    criterion = criterion_of(task, report_accuracy=True)
    _, _, expected, _ = loss_gradient_log(criterion, model, sample)
    with use("triton"):
        _, _, log, _ = loss_gradient_log(criterion, model, sample)
        output = model(**sample["net_input"])
        before = output[0].detach().clone()
        criterion_of(task).compute_loss(model, output, sample)
    assert log["n_correct"] == expected["n_correct"]
    assert not torch.equal(output[0], before)


def test_a_model_with_other_probabilities_keeps_them(setting):
    model, task, sample = setting

    class Doubled(type(model)):
        def get_normalized_probs(self, net_output, log_probs, sample=None):
            return torch.log_softmax(2 * net_output[0], dim=-1)

    other = copy.copy(model)
    other.__class__ = Doubled
    output = other(**sample["net_input"])
    log_probs = AsLogits(other).get_normalized_probs(output, log_probs=True)
    torch.testing.assert_close(log_probs, torch.log_softmax(2 * output[0], dim=-1))
    # log_softmax needs its output again, so it must not be written over.
    loss, _, _ = criterion_of(task)(other, sample)
    loss.backward()


@pytest.mark.parametrize("tied", [["--share-decoder-input-output-embed"], *long([])])
def test_training_with_features_is_training_with_logits(train, tied):
    plain, _ = train("--max-update", 3, *tied)
    fused, _ = train("--max-update", 3, FUSED, *tied)
    assert_same_weights(plain / "checkpoint_last.pt", fused / "checkpoint_last.pt", rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_two_processes_with_features(train):
    options = ["--sentence-avg", "--max-update", 2, "--dropout", 0, FUSED]
    options += ["--share-decoder-input-output-embed"]
    one, _ = train(*options, "--update-freq", 2)
    two, output = train(*options, *GLOO, launcher=processes(2))
    assert "distributed_world_size': 2" in output
    assert_same_weights(one / "checkpoint_last.pt", two / "checkpoint_last.pt", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "lstm"], "which LSTMModel has not: drop the flag"),
        (
            [*TINY_MODEL, "--report-accuracy"],
            "--report-accuracy needs the logits that",
        ),
        pytest.param(
            ["--arch", "transformer_align", *TINY_MODEL[2:]],
            "which TransformerAlignModel has not: drop the flag",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ["--task", "multilingual_translation", "--lang-pairs", "de-en", *MULTILINGUAL],
            "which FairseqEncoderDecoderModel has not: drop the flag",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_cannot_be_fused_is_named(corpus, tmp_path, arguments, message):
    command = [
        "fairseq-train",
        corpus[1],
        "--user-dir",
        PLUGIN,
        "--criterion",
        "encouraging_ls",
        "--cpu",
        FUSED,
    ]
    output = run(*command, *arguments, *TRAINING, "--max-update", 1, "--save-dir", tmp_path, check=False)
    assert message in output
