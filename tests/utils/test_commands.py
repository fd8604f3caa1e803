"""Logs of the commands that are run."""

from el_plugins.utils.commands import run


def test_a_log_names_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["python", "-c", "import sys; print(sys.argv[1])", tmp_path / "data" / "bin"], tmp_path / "log")
    header, line = (tmp_path / "log").read_text().splitlines()
    assert header.endswith(" data/bin")
    assert line == "data/bin"
