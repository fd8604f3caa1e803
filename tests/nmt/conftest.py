"""Text to prepare."""

import pytest

from tests.nmt.sentences import NEWS, TEST, TRAIN, VALID, write


@pytest.fixture
def text(tmp_path):
    """A folder, with a space in its name, of the four parts."""
    folder = tmp_path / "my text"
    for name, pairs in {"train": TRAIN, "dev": VALID, "test": TEST, "news": NEWS}.items():
        write(folder, name, pairs)
    return folder
