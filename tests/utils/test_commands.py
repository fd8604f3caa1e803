"""Logs of the commands that are run."""

import pytest

from el_plugins.utils.commands import run


def test_a_log_names_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["python", "-c", "import sys; print(sys.argv[1])", tmp_path / "data" / "bin"], tmp_path / "log")
    header, line = (tmp_path / "log").read_text().splitlines()
    assert header.endswith(" data/bin")
    assert line == "data/bin"


@pytest.mark.parametrize("folder", ["/", None])
def test_sentences_stay_as_they_are(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder or tmp_path)
    sentence = f"see http://example.org and {tmp_path}/cache"
    run(["python", "-c", f"print('H-0\\t-0.1\\t{sentence}')"], tmp_path / "log")
    assert (tmp_path / "log").read_text().splitlines()[1] == f"H-0\t-0.1\t{sentence}"


def test_output_is_read_whatever_the_locale_and_the_log_level(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    monkeypatch.setenv("LOGLEVEL", "ERROR")  # fairseq takes its level from it
    run(["python", "-c", "import os; print('H-0\t-0.1\tschön', os.environ['LOGLEVEL'])"], tmp_path / "log")
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines()[1] == "H-0\t-0.1\tschön INFO"


@pytest.mark.parametrize(
    ("before", "expected"), [("", ""), ("one\n", "one\n"), ("one\ncut sh", "one\ncut sh\n")]
)
def test_a_line_that_was_cut_short_ends_before_the_next_command(before, expected, tmp_path):
    log = tmp_path / "log"
    log.write_text(before)
    run(["python", "-c", "print('two')"], log, append=True)
    assert log.read_text().startswith(f"{expected}$ ")
    assert log.read_text().endswith("\ntwo\n")
