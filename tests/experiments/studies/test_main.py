"""The studies' command where several processes train together."""

from types import SimpleNamespace

import pytest

pytest.importorskip("timm")

from experiments.studies import __main__ as command


def test_processes_that_train_together_go_on_together(tmp_path, monkeypatch):
    # The first process alone finds a folder of other settings; the others are in that study already.
    begun = []

    def run_study(study, settings, folder):
        begun.append(folder.name)
        raise ValueError(f"{folder} was made with other settings")

    monkeypatch.setattr(command, "run_study", run_study)
    arguments = ["mse", "energy", "--output", str(tmp_path)]
    for processes, studies in ((1, ["mse", "energy"]), (2, ["mse"])):
        state = SimpleNamespace(num_processes=processes, is_main_process=True)
        monkeypatch.setattr(command, "PartialState", lambda cpu, state=state: state)
        with pytest.raises(SystemExit, match="was made with other settings"):
            command.main(arguments)
        assert begun == studies
        begun.clear()
