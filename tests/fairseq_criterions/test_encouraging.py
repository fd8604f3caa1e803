"""The criterion against the stock one, on a real model, task and batches."""

import copy
import math

import pytest
import torch

fairseq = pytest.importorskip("fairseq")

from fairseq import criterions
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler

from el_plugins.losses import encouraging_loss
from tests.fairseq_criterions.criteria import criterion_of, loss_gradient_log, needs_layers_in

NAMES = ("encouraging_label_smoothed_cross_entropy", "encouraging_ls")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.0},
        {"sentence_avg": True},
        {"report_accuracy": True},
        {"ignore_prefix_size": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("reduce", [True, False])
def test_without_bonus_it_is_the_stock_criterion(setting, options, reduce):
    model, task, sample = setting
    ours = loss_gradient_log(criterion_of(task, bonus="none", **options), model, sample, reduce)
    stock_criterion = criterion_of(task, LabelSmoothedCrossEntropyCriterion, **options)
    stock = loss_gradient_log(stock_criterion, model, sample, reduce)
    torch.testing.assert_close(ours[0], stock[0])
    assert ours[1] == stock[1]
    assert ours[2].keys() - stock[2].keys() == {"well_classified", "counted_tokens"}
    for name, value in stock[2].items():
        torch.testing.assert_close(torch.as_tensor(ours[2][name]), torch.as_tensor(value))
    for ours_gradient, stock_gradient in zip(ours[3], stock[3]):
        torch.testing.assert_close(ours_gradient, stock_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"log_end": 1.0},
        {"bonus": "aggressive", "bonus_start": 0.1},
        {"bonus": "power", "smoothing": "uniform"},
    ],
    ids=str,
)
def test_is_the_loss_of_the_logits_over_real_tokens(setting, options):
    model, task, sample = setting
    pad = task.target_dictionary.pad()
    loss, _, log, _ = loss_gradient_log(criterion_of(task, **options), model, sample)
    logits = model(**sample["net_input"])[0].double().flatten(0, 1)
    target = sample["target"].flatten()
    real = target != pad
    expected = encouraging_loss(
        logits[real],
        target[real],
        reduction="sum",
        label_smoothing=0.1,
        **{"log_end": 0.5, "smoothing": "fairseq", **options},
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    p = logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)[real]
    assert log["nll_loss"].item() == pytest.approx(-p.log().sum().item(), rel=1e-5)
    assert log["well_classified"].item() == (p > 0.5).sum().item()


def test_rows_sum_to_the_whole_and_padding_counts_nothing(setting):
    model, task, sample = setting
    criterion = criterion_of(task, log_end=1.0)
    whole, _, log = criterion(model, sample)
    rows, _, row_log = criterion(model, sample, reduce=False)
    padding = sample["target"].view(-1, 1).eq(task.target_dictionary.pad())
    assert rows.shape == padding.shape
    assert (rows[padding] == 0).all()
    torch.testing.assert_close(rows.sum(), whole)
    torch.testing.assert_close(row_log["nll_loss"].sum(), log["nll_loss"])


def test_well_classified_is_a_share_of_the_tokens_that_count(setting):
    model, task, sample = setting
    criterion = criterion_of(task, ignore_prefix_size=2)
    target = sample["target"][:, 2:]
    real = target.ne(task.target_dictionary.pad())
    logits = model(**sample["net_input"])[0][:, 2:]
    sure = copy.deepcopy(sample)
    sure["target"][:, 2:] = torch.where(real, logits.argmax(-1), target)  # right
    with torch.no_grad():
        model.decoder.output_projection.weight.mul_(1000)  # and sure of it
        _, _, log = criterion(model, sure)
        model.decoder.output_projection.weight.div_(1000)
    assert log["counted_tokens"] == real.sum() < log["ntokens"]
    with metrics.aggregate(new_root=True) as figures:
        criterion.reduce_metrics([log])
    assert figures.get_smoothed_values()["well_classified"] == 1


def test_metrics(setting):
    _, task, _ = setting
    logs = [
        {
            "loss": -2.0,
            "nll_loss": 3.0,
            "ntokens": 6,
            "nsentences": 1,
            "sample_size": 6,
            "well_classified": 3,
            "counted_tokens": 4,
        },
        {
            "loss": 1.0,
            "nll_loss": 5.0,
            "ntokens": 4,
            "nsentences": 1,
            "sample_size": 4,
            "well_classified": 3,
            "counted_tokens": 4,
        },
    ]
    criterion = criterion_of(task)
    with metrics.aggregate(new_root=True) as figures:
        criterion.reduce_metrics(logs)
    values = figures.get_smoothed_values()
    assert values["loss"] == pytest.approx(-1 / 10 / math.log(2), abs=1e-3)
    assert values["nll_loss"] == pytest.approx(8 / 10 / math.log(2), abs=1e-3)
    assert values["ppl"] == pytest.approx(2 ** values["nll_loss"], abs=0.01)
    assert values["well_classified"] == pytest.approx(0.75)  # of 8 that count
    assert criterion.logging_outputs_can_be_summed()


def test_both_names_are_one_criterion():
    long, short = (criterions.CRITERION_REGISTRY[name] for name in NAMES)
    assert issubclass(short, long)
    assert short.__name__ == long.__name__


@pytest.mark.parametrize("cls", ["ours", "stock"])
def test_loss_scaling_sees_overflow_as_with_the_stock_criterion(setting, cls):
    model, task, sample = setting
    stock = LabelSmoothedCrossEntropyCriterion
    criterion = criterion_of(task, stock) if cls == "stock" else criterion_of(task, log_end=1.0)
    needs_layers_in(torch.float16)
    half = copy.deepcopy(model).half()
    for init_scale, overflows in ((1.0, False), (2.0**24, True)):
        scaler = DynamicLossScaler(init_scale=init_scale)
        half.zero_grad()
        scaler.scale(criterion(half, sample)[0]).backward()
        norms = [p.grad.float().norm() for p in half.parameters() if p.grad is not None]
        total = torch.stack(norms).norm().item()
        if overflows:
            with pytest.raises(OverflowError, match="setting loss scale to"):
                scaler.check_overflow(total)
        else:
            scaler.check_overflow(total)
            assert math.isfinite(total)
