"""The paper's measures on values worked by hand, and against scikit-learn."""

import pytest
import torch

from el_plugins.metrics import NotFiniteError, energy, margin, ood_metrics, ood_scores, shot_accuracy, shots


def test_energy_and_margin():
    logits = torch.tensor([[1.0, 4.0, 2.5], [3.0, -1.0, 3.0], [-2.0, -5.0, -9.0]])
    target = torch.tensor([1, 1, 0])
    assert energy(logits, target).tolist() == [-4.0, 1.0, 2.0]
    assert margin(logits, target).tolist() == [1.5, -4.0, 3.0]
    assert margin(logits[1:2], torch.tensor([2])).tolist() == [0.0]  # a tie is no margin


def test_ood_scores():
    scores = ood_scores(torch.log(torch.tensor([[1.0, 3.0], [8.0, 8.0]])))
    assert scores["minimum_energy"].exp().tolist() == pytest.approx([1 / 3, 1 / 8])
    assert (-scores["maximum_probability"]).sigmoid().tolist() == pytest.approx([0.75, 0.5])
    assert scores["free_energy"].exp().tolist() == pytest.approx([1 / 4, 1 / 16])


def test_probabilities_that_round_to_one_still_rank():
    logits = torch.tensor([[22.0, 0.0, 1.0], [32.0, 2.0, 0.0], [0.0, 30.0, 29.0]])
    assert logits.softmax(1).max(1).values[:2].tolist() == [1.0, 1.0]
    scores = ood_scores(logits)["maximum_probability"]
    exact = logits.double().log_softmax(1).max(1).values.neg()  # 1 - p, nearly
    assert scores.argsort().tolist() == exact.argsort().tolist() == [1, 0, 2]


def test_ood_metrics_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    torch.manual_seed(0)
    inside, outside = torch.randn(301).round(decimals=1), (torch.randn(97) + 1).round(decimals=1)
    measures = ood_metrics(inside, outside)
    labels = torch.cat([torch.zeros(301), torch.ones(97)])
    assert measures["auroc"] == pytest.approx(
        100 * metrics.roc_auc_score(labels, torch.cat([inside, outside]))
    )
    # Inside is what is to be found: the share of it found reaches 95 % at the smallest such threshold.
    false, true, _ = metrics.roc_curve(1 - labels, -torch.cat([inside, outside]), drop_intermediate=False)
    assert measures["fpr95"] == pytest.approx(100 * false[(true >= 0.95).argmax()])


def test_ood_metrics_by_hand():
    inside = torch.arange(1.0, 21.0)  # 95 % of 20 are 19: the threshold is 19
    assert ood_metrics(inside, torch.tensor([19.0, 19.5, 30.0, 0.0]))["fpr95"] == 50.0
    assert ood_metrics(inside, torch.tensor([20.5, 0.0]))["auroc"] == 50.0
    with pytest.raises(ValueError, match="20 inside and 0 outside"):
        ood_metrics(inside, torch.tensor([]))


def test_shots():
    counts = torch.tensor([101, 100, 20, 19])
    assert shots(counts).tolist() == [0, 1, 1, 2]
    target = torch.tensor([0, 0, 1, 2, 2, 3])
    predicted = torch.tensor([0, 3, 1, 2, 0, 0])
    assert shot_accuracy(predicted, target, counts) == pytest.approx(
        {"overall": 50.0, "many": 50.0, "medium": 200 / 3, "few": 0.0}
    )
    assert shot_accuracy(predicted, target, torch.tensor([200] * 4))["few"] is None


def test_a_diverged_model_has_no_score():
    nan, finite = torch.full((4,), torch.nan), torch.arange(3.0)
    with pytest.raises(NotFiniteError, match="got 4 of 4 inside and 0 of 3 outside that are not"):
        ood_metrics(nan, finite)
    infinite = torch.tensor([1.0, torch.inf, -torch.inf])
    with pytest.raises(ValueError, match="got 0 of 3 inside and 2 of 3 outside that are not"):
        ood_metrics(finite, infinite)
    logits = torch.stack([finite, infinite])
    for measure in (
        ood_scores,
        lambda z: energy(z, torch.tensor([0, 0])),
        lambda z: margin(z, torch.tensor([0, 0])),
    ):
        with pytest.raises(NotFiniteError, match="got 2 of 6 logits that are not"):
            measure(logits)
