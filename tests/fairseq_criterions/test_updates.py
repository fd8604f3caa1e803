"""The criterion knows the trainer's number of updates, in fairseq's own trainer."""

import copy

import pytest
import torch

pytest.importorskip("fairseq")

from fairseq import checkpoint_utils
from fairseq.logging import metrics
from fairseq.trainer import Trainer

from tests.fairseq_criterions.criteria import criterion_of


@pytest.fixture
def training(setting, trained):
    """``training(options...)``: a trainer of a copy of the model, its criterion with a schedule, a batch."""
    model, task, sample = setting
    cfg = checkpoint_utils.load_checkpoint_to_cpu(str(trained[0] / "checkpoint_last.pt"))["cfg"]

    def training(**options):
        own = copy.copy(task)
        criterion = criterion_of(own, log_end=1.0, **options)
        return Trainer(cfg, own, copy.deepcopy(model), criterion), criterion, sample

    with metrics.aggregate(new_root=True):
        yield training


def loss(criterion, model, sample, **options):
    """The loss of ``model`` by a criterion without a schedule."""
    with torch.no_grad():
        return criterion_of(criterion.task, **options)(model.eval(), sample)[0].item()


def test_training_and_validation_follow_the_updates(training):
    trainer, criterion, sample = training(bonus_delay_updates=1, bonus_warmup_updates=2)
    for factor_in_step, factor_after in [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]:
        log = trainer.train_step([sample, sample])
        assert log["bonus_factor"] == factor_in_step
        valid = trainer.valid_step(sample)
        assert valid["bonus_factor"] == factor_after
        options = {"log_end": 1.0, "bonus_weight": factor_after} if factor_after else {"bonus": "none"}
        expected = loss(criterion, trainer.get_model(), sample, **options)
        ours = criterion(trainer.get_model(), sample)[0].item()
        assert ours == pytest.approx(expected, rel=1e-6)


def test_outside_a_training_the_bonus_is_whole(setting):
    model, task, sample = setting
    criterion = criterion_of(copy.copy(task), log_end=1.0, bonus_delay_updates=100)
    assert criterion(model, sample)[0].item() == loss(criterion, model, sample, log_end=1.0)


def test_without_a_schedule_the_task_is_left_alone(setting):
    _, task, _ = setting
    own = copy.copy(task)
    criterion_of(own)
    assert vars(own).keys() == vars(task).keys()
