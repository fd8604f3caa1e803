"""Every mistake is named before the first update."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.check import check, check_lengths
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.settings import read_settings


@pytest.fixture
def check_settings(tiny_settings, corpus, tmp_path):
    """Check the tiny benchmark after a change to its file's text: ``check_settings(old, new)``."""
    shutil.copytree(corpus[1], tmp_path / "bin")

    def checked(*changes):
        path = tiny_settings(tmp_path / "tiny.yaml", tokens=60, updates=1, average=2, systems=("ce", "el"))
        text = path.read_text().replace(str(corpus[1]), str(tmp_path / "bin"))
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        benchmark = read_settings(path)
        check([Run(benchmark, system, 1, tmp_path) for system in benchmark.systems])

    return checked


def test_nothing_wrong(check_settings):
    check_settings()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("--lr 0.01", "--lrr 0.01", "the training of ce: unrecognized arguments: --lrr 0.01"),
        (
            "--lr 0.01",
            "--lr 0.01 --keep-last-epochs 1",
            "keep-last-epochs must be at least 2, .* got 1 for ce",
        ),
        ("--lr 0.01", "--lr 0.01 --no-epoch-checkpoints", "--no-epoch-checkpoints of ce leaves no 2 epochs"),
        (
            "--lr 0.01",
            "--lr 0.01 --restore-file a.pt",
            "--restore-file a.pt of ce would be .*--finetune-from",
        ),
        ("--lr 0.01", "--lr 0.01 --reset-optimizer", "training of ce must leave out --reset-optimizer: a"),
        ("--lr 0.01", "--lr 0.01 --stop-time-hours 2", "must leave out --stop-time-hours: a slower loss"),
        ("--lr 0.01", "--lr 0.01 --disable-validation", "must leave out --disable-validation: the best"),
        ("--beam 2", "--beam 2 --quiet", "generate must leave out --quiet: the translations are read"),
        ("--beam 2", "--beam 2 --tokenizer moses", "generate must leave out --tokenizer: data has"),
        ("--lr 0.01", "--lr fast", "the training of ce: .*fast"),
        (
            "criterion: encouraging_ls",
            "criterion: fancy",
            "the training of el: argument --criterion: invalid",
        ),
        ("--beam 2", "--bream 2", "refuses the arguments of generate: unrecognized arguments: --bream 2"),
        ("{test: ", "{news: ", "has no subset news: .*news.de-en.de.idx does not exist"),
        ("--beam 2", "--beam 2 --max-target-positions 3", "valid has 20 of 20 sentences of en .* than 3 sub"),
        ("--lr 0.01", "--lr 0.01 --max-source-positions 3", "valid has 20 of 20 sentences of de .* 3 sub"),
        ("--lr 0.01", "--lr 0.01 --max-tokens-valid 3", "valid has 20 of 20 sentences of de .* 3 sub"),
        ("/test.en}", "/valid.en}", "valid.en must have a line for each of the 12 sentences of test, got 20"),
    ],
)
def test_mistakes_are_named(check_settings, old, new, message):
    with pytest.raises(ValueError, match=message):
        check_settings((old, new))


def test_the_strictest_limit_counts():
    lengths = {"de": np.array([3, 9]), "en": np.array([4, 4])}
    check_lengths(lengths, "test", [(10, 4), (9, 10)])
    with pytest.raises(
        ValueError, match=r"test has 1 of 2 sentences of de .* than 8 subwords, such as line 2 with 9"
    ):
        check_lengths(lengths, "test", [(10, 4), (8, 10)])


def test_a_damaged_subset_is_named(check_settings, tmp_path):
    (tmp_path / "bin" / "test.de-en.en.idx").write_bytes(b"MMIDIDX\x00\x00")
    with pytest.raises(ValueError, match=r"cannot open the subset test, .*test\.de-en\.en"):
        check_settings()
    Path(tmp_path / "bin" / "train.de-en.de.idx").unlink()
    with pytest.raises(ValueError, match="has no subset train"):
        check_settings()
