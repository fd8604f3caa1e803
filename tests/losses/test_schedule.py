"""The bonus over the course of training: its curves, the scheduler, and what it costs a compiler."""

import io
import re

import mpmath
import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from el_plugins.losses import (
    BinaryEncouragingLossWithLogits,
    BonusSchedule,
    EncouragingLoss,
    LinearEncouragingLoss,
)
from el_plugins.losses.kernels import use
from el_plugins.losses.schedule import bonus_factor

CURVES = {
    "linear": lambda t: t,
    "cosine": lambda t: (1 - mpmath.cos(mpmath.pi * t)) / 2,
    "exp": lambda t: (mpmath.e ** (5 * t) - 1) / (mpmath.e**5 - 1),
}


@pytest.mark.parametrize("shape", CURVES)
def test_curves(shape):
    for update in (0, 5, 9, 10):
        assert bonus_factor(update, 10, 8, shape) == 0
    for update in range(10, 19):
        expected = float(CURVES[shape](mpmath.mpf(update - 10) / 8))
        assert bonus_factor(update, 10, 8, shape) == pytest.approx(expected, rel=1e-14)
    assert bonus_factor(18, 10, 8, shape) == bonus_factor(19, 10, 8, shape) == 1
    assert [bonus_factor(update, 10, 0, shape) for update in (9, 10)] == [0, 1]
    assert bonus_factor(0, shape=shape) == 1


def cases(**options):
    """Each loss with a bonus of these options, its input and its target, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    z = 4 * torch.randn(12, 6, generator=generator)
    classes = torch.randint(6, (12,), generator=generator)
    classes[0] = -100
    torch.manual_seed(0)
    linear = LinearEncouragingLoss(6, 9, bias=True, **options)
    return [
        (EncouragingLoss(**options), z, classes),
        (EncouragingLoss(torch.arange(1.0, 7), label_smoothing=0.1, **options), z, classes),
        (linear, z, classes),
        (BinaryEncouragingLossWithLogits(**options), z, torch.randint(2, (12, 6), generator=generator)),
    ]


def loss_and_gradients(loss, z, target):
    z = z.clone().requires_grad_()
    value = loss(z, target)
    return value.detach(), *torch.autograd.grad(value, [z, *loss.parameters()])


@pytest.mark.parametrize("options", [{"log_end": 1.0}, {"bonus": "power", "bonus_start": 0.3}], ids=str)
def test_weight_follows_the_schedule(options):
    for number, (loss, *data) in enumerate(cases(bonus_weight=0.8, **options)):
        schedule = BonusSchedule(loss, delay=1, warmup=4, shape="cosine")
        for update in range(7):
            factor = bonus_factor(update, 1, 4, "cosine")
            assert schedule.get_last_factor() == factor
            expected, *_ = cases(bonus_weight=0.8 * factor, **options)[number]
            for ours, theirs in zip(loss_and_gradients(loss, *data), loss_and_gradients(expected, *data)):
                assert torch.equal(ours, theirs)
            schedule.step()


def assert_no_bonus_yet():
    for (loss, *data), (plain, *_) in zip(cases(), cases(bonus="none")):
        BonusSchedule(loss, delay=1)
        for ours, theirs in zip(loss_and_gradients(loss, *data), loss_and_gradients(plain, *data)):
            assert torch.equal(ours, theirs)


def test_before_the_delay_is_over_there_is_no_bonus(path):
    assert_no_bonus_yet()


def test_before_the_delay_is_over_there_is_no_bonus_on_the_chosen_path():
    assert_no_bonus_yet()


def test_state_survives_a_restart():
    loss = EncouragingLoss(bonus_weight=2.0)
    schedule = BonusSchedule(loss, 1, 4, "exp")
    for _ in range(3):
        schedule.step()
    file = io.BytesIO()
    torch.save(schedule.state_dict(), file)
    file.seek(0)
    again = EncouragingLoss(bonus_weight=2.0)
    resumed = BonusSchedule(again, 1, 4, "exp")
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(4):
        assert again.bonus == loss.bonus
        assert resumed.get_last_factor() == schedule.get_last_factor()
        schedule.step()
        resumed.step()
    assert again.bonus == EncouragingLoss(bonus_weight=2.0).bonus


def test_every_loss_inside_a_module_is_scheduled():
    both = torch.nn.ModuleDict(
        {"one": EncouragingLoss(bonus_weight=2.0), "other": LinearEncouragingLoss(3, 4, log_end=1.0)}
    )
    schedule = BonusSchedule(both, warmup=2)
    schedule.step()
    assert (both["one"].bonus.weight, both["other"].loss.bonus.weight) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delay": -1}, "delay must be an integer >= 0, got -1"),
        ({"warmup": 0.5}, "warmup must be an integer >= 0, got 0.5"),
        ({"shape": "step"}, "shape must be one of linear, cosine, exp, got 'step'"),
        (
            {"loss": torch.nn.CrossEntropyLoss()},
            "loss must be a module with a bonus, such as",
        ),
    ],
)
def test_errors_name_the_argument_its_value_and_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BonusSchedule(**{"loss": EncouragingLoss(), **arguments})


def test_the_state_of_something_else_is_refused():
    schedule = BonusSchedule(EncouragingLoss())
    with pytest.raises(ValueError, match=r"state_dict must have the keys delay, warmup, .*, got last_epoch"):
        schedule.load_state_dict({"last_epoch": 3})
    with pytest.raises(ValueError, match="base_weights must have one weight for each of 1 losses"):
        schedule.load_state_dict({**schedule.state_dict(), "base_weights": [1.0, 1.0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": "linera"}, "shape must be one of linear, cosine, exp, got 'linera'"),
        ({"last_update": "3"}, "last_update must be an integer >= 0, got '3'"),
        ({"delay": -1}, "delay must be an integer >= 0, got -1"),
        ({"base_weights": [-3.0]}, "bonus_weight must be a finite number >= 0, got -3.0"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(change, message):
    schedule = BonusSchedule(EncouragingLoss(), delay=2, warmup=5)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=re.escape(message)):
        schedule.load_state_dict({**before, "warmup": 7, **change})
    assert schedule.state_dict() == before


def train(loss_function, loss, schedule, z, target, updates):
    """The loss at each update of the schedule by ``loss_function``, and by the formula in float64."""
    ours, exact = [], []
    for _ in range(updates):
        leaf = z.detach().requires_grad_()
        value = loss_function(leaf, target)
        value.backward()
        ours.append(value.item())
        with torch.no_grad(), use("formula"):
            exact.append(loss(z.double(), target).item())
        schedule.step()
    return ours, exact


def test_a_warm_up_is_compiled_twice(no_fallback):
    loss = EncouragingLoss(label_smoothing=0.1, log_end=0.5)
    schedule = BonusSchedule(loss, delay=2, warmup=200)
    counters.clear()
    with use("compiled"):
        ours, exact = train(loss, loss, schedule, torch.randn(6, 5), torch.randint(5, (6,)), 210)
    assert ours == pytest.approx(exact, rel=1e-5)
    # Loss and gradient in one graph, with the bonus and without; in two passes torch 2.2 makes five.
    assert counters["stats"]["unique_graphs"] == (2 if torch.__version__ >= (2, 6) else 5)


def test_a_warm_up_is_compiled_twice_in_the_callers_graph(full_graph):
    loss = EncouragingLoss(log_end=0.5)
    schedule = BonusSchedule(loss, delay=2, warmup=50)
    start = schedule.state_dict()
    compiled = full_graph(loss)
    data = (torch.randn(6, 5), torch.randint(5, (6,)))
    counters.clear()
    for _ in range(2):
        ours, exact = train(compiled, loss, schedule, *data, 60)
        assert ours == pytest.approx(exact, rel=1e-5)
        schedule.load_state_dict(start)
    assert counters["stats"]["unique_graphs"] == 2


def test_a_second_schedule_starts_from_the_initial_weight():
    loss = EncouragingLoss(bonus_weight=0.5)
    BonusSchedule(loss, delay=10)
    assert loss.bonus.weight == 0
    schedule = BonusSchedule(loss)
    assert (loss.bonus.weight, schedule.base_weights) == (0.5, [0.5])


def test_a_compiled_loss_counts_once():
    loss = torch.compile(EncouragingLoss(log_end=0.5), backend="eager")
    schedule = BonusSchedule(loss, delay=np.int64(1))
    assert schedule.base_weights == [1.0]
    resumed = EncouragingLoss(log_end=0.5)
    schedule.step()
    BonusSchedule(resumed, delay=1).load_state_dict(schedule.state_dict())
    assert resumed.bonus.weight == loss.bonus.weight == 1.0
