"""The criterion's flags: checked, refused where they mean nothing, explained."""

import argparse
import re

import pytest

pytest.importorskip("fairseq")

from fairseq import criterions

from tests.fairseq_criterions.criteria import criterion_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_end": 1.5}, "log_end must be a finite number >= 0 and <= 1, got 1.5"),
        ({"label_smoothing": -0.1}, "label_smoothing must be"),
        ({"bonus": "no"}, "bonus must be one of log, aggressive, power, cosine, none, got 'no'"),
        ({"smoothing": "no"}, "smoothing must be one of uniform, fairseq, got 'no'"),
        ({"bonus_eps": 0.5}, "bonus_eps must be a finite number >= 0 and < 0.5, got 0.5"),
        ({"bonus_delay_updates": -1}, "bonus_delay_updates must be an integer >= 0, got -1"),
        ({"bonus_warmup_updates": 1.5}, "bonus_warmup_updates must be an integer >= 0, got 1.5"),
        ({"bonus_schedule": "step"}, "bonus_schedule must be one of linear, cosine, exp, got 'step'"),
        ({"ignore_prefix_size": -1}, "ignore_prefix_size must be an integer >= 0, got -1"),
    ],
)
def test_values_are_checked_when_built(setting, options, message):
    with pytest.raises(ValueError, match=message):
        criterion_of(setting[1], **options)


@pytest.mark.parametrize(
    ("bonus", "name", "value", "bonuses"),
    [
        ("aggressive", "log_end", 0.3, "log"),
        ("power", "bonus_eps", 0.0, "log, aggressive"),
        ("log", "bonus_start", 0.3, "aggressive, power"),
        ("log", "bonus_exponent", 3.0, "power"),
        ("none", "log_end", 0.75, "log"),
        ("none", "bonus_weight", 0.5, "log, aggressive, power, cosine"),
        ("none", "bonus_delay_updates", 5, "log, aggressive, power, cosine"),
        ("none", "bonus_warmup_updates", 5, "log, aggressive, power, cosine"),
        ("none", "bonus_schedule", "exp", "log, aggressive, power, cosine"),
    ],
)
def test_flags_without_a_meaning_for_the_bonus_are_refused(setting, bonus, name, value, bonuses):
    flag = "--" + name.replace("_", "-")
    message = f"{flag} {value} has no meaning with --bonus {bonus}, only with --bonus {bonuses}: drop"
    with pytest.raises(ValueError, match=re.escape(message)):
        criterion_of(setting[1], bonus=bonus, **{name: value})


def test_flags_without_a_meaning_for_a_bonus_of_no_weight_are_refused(setting):
    with pytest.raises(ValueError, match=r"--bonus-eps 0\.1 has no meaning with --bonus-weight 0: drop"):
        criterion_of(setting[1], bonus_weight=0.0, bonus_eps=0.1)
    criterion_of(setting[1], bonus_weight=0.0)


def test_a_shape_without_a_warm_up_is_refused(setting):
    options = {"bonus_schedule": "cosine", "bonus_delay_updates": 5}
    message = "--bonus-schedule cosine has no meaning without --bonus-warmup-updates > 0"
    with pytest.raises(ValueError, match=message):
        criterion_of(setting[1], **options)
    criterion_of(setting[1], **options, bonus_warmup_updates=1)


def test_help_names_every_flag_and_says_that_the_loss_may_be_negative():
    parser = argparse.ArgumentParser()
    criterions.CRITERION_REGISTRY["encouraging_ls"].add_args(parser)
    text = " ".join(parser.format_help().split())
    assert "The loss may be negative: select checkpoints by nll_loss or BLEU" in text
    names = "log-end bonus bonus-weight bonus-start bonus-exponent bonus-eps bonus-delay-updates"
    names += " bonus-warmup-updates bonus-schedule smoothing label-smoothing ignore-prefix-size"
    assert all(f"--{name} " in text for name in names.split())
