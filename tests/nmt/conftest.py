"""Text to prepare."""

import pytest

from tests.commands import run
from tests.nmt.sentences import NEWS, TEST, TRAIN, VALID, write


@pytest.fixture
def text(tmp_path):
    """A folder, with a space in its name, of the four parts."""
    folder = tmp_path / "my text"
    for name, pairs in {"train": TRAIN, "dev": VALID, "test": TEST, "news": NEWS}.items():
        write(folder, name, pairs)
    return folder


@pytest.fixture
def preprocess(monkeypatch):
    """Fork fairseq-preprocess where fairseq is imported already: that takes longer than a small corpus."""
    pytest.importorskip("fairseq")
    from el_plugins.nmt import corpora

    monkeypatch.setattr(corpora, "run", lambda command, log, pass_fds: run(*command))
