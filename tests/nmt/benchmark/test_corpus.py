"""The command that makes a corpus: where it runs, when, and what if it fails."""

import pytest

pytest.importorskip("omegaconf")
pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark.corpus import prepare
from el_plugins.nmt.benchmark.settings import Data


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A corpus that is not there yet, of settings in ``tmp_path``, which is not the current folder."""
    monkeypatch.chdir(tmp_path.parent)
    folder = tmp_path / "corpus"
    return Data(folder=str(folder), source="de", target="en", references={"test": str(folder / "test.en")})


def test_the_command_makes_the_corpus_once_in_the_folder_of_the_settings(data, tmp_path):
    data.prepare = "mkdir -p corpus && pwd >> corpus/test.en"
    prepare(data, tmp_path)
    prepare(data, tmp_path)
    assert (tmp_path / "corpus" / "test.en").read_text() == f"{tmp_path}\n"


def test_a_command_that_fails_ends_it(data, tmp_path):
    data.prepare = "mkdir corpus && touch corpus/test.en && exit 3"
    with pytest.raises(RuntimeError, match="the command that prepares the data failed: mkdir corpus"):
        prepare(data, tmp_path)
