"""What tests share: a tiny corpus and models trained once a session, and the mark of what needs a GPU."""

import os
import random

import pytest
import torch
from hypothesis import settings

from tests.commands import PLUGIN, TINY_MODEL, TRAINING, run
from tests.disks import mounted


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")


# make trust draws more: HYPOTHESIS_PROFILE=trust.
settings.register_profile("quick", max_examples=15, deadline=None, derandomize=True, database=None)
settings.register_profile("trust", max_examples=500, deadline=None, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A binarised corpus whose English is its German in capitals: (folder of text, data folder)."""
    pytest.importorskip("fairseq")
    folder = tmp_path_factory.mktemp("corpus")
    words = [f"w{number}" for number in range(20)]
    generator = random.Random(0)
    for split, count in {"train": 120, "valid": 20, "test": 12}.items():
        lines = [" ".join(generator.choices(words, k=generator.randint(3, 9))) for _ in range(count)]
        (folder / f"{split}.de").write_text("\n".join(lines) + "\n")
        (folder / f"{split}.en").write_text("\n".join(lines).upper() + "\n")
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid", "test")]
    run("fairseq-preprocess", "-s", "de", "-t", "en", *prefixes, "--destdir", folder / "bin", "--workers", 1)
    return folder, folder / "bin"


@pytest.fixture(scope="session")
def train(corpus, tmp_path_factory):
    """Train a tiny model through fairseq-train: ``train(arguments...)`` gives (checkpoint folder, output)."""

    def train(*arguments, save_dir=None, criterion="encouraging_ls", launcher=("fairseq-train",)):
        save_dir = save_dir or tmp_path_factory.mktemp("train")
        command = [*launcher, corpus[1], "--user-dir", PLUGIN, "--criterion", criterion, "--cpu"]
        return save_dir, run(*command, *TINY_MODEL, *TRAINING, "--save-dir", save_dir, *arguments)

    return train


@pytest.fixture(scope="session")
def trained(train):
    """A model trained for 12 updates with ``--eval-bleu``, checkpoints at every third too."""
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 10}', "--eval-bleu-detok", "space"]
    best = ["--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"]
    checkpoints = ["--keep-best-checkpoints", "2", "--save-interval-updates", "3"]
    return train("--max-update", "12", *bleu, *best, *checkpoints)


@pytest.fixture
def disk(tmp_path):
    """A small disk in memory."""
    with mounted(tmp_path / "disk") as disk:
        yield disk
