"""The progress of runs where no terminal shows a bar: a line for each step, however often it is asked for."""

import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.progress import Progress
from el_plugins.nmt.benchmark.runs import Run
from tests import made_up


def test_a_log_has_a_line_for_each_step(tmp_path, capsys):
    benchmark = made_up.settings(["ce", "el"], [1])
    runs = [Run(benchmark, system, 1, tmp_path) for system in benchmark.systems]
    for run in runs:
        run.folder.mkdir(parents=True)
    with Progress(runs) as progress:
        progress.show(runs, 0)
        for updates in range(5):
            runs[0].progress("training", updates=updates)
            progress.show(runs, 0)
        runs[0].progress("averaging")
        progress.show(runs, 0)
        progress.show(runs[1:], 0)
    assert capsys.readouterr().err.splitlines() == [
        "ce/seed1: starting",
        "el/seed1: starting",
        "ce/seed1: training",
        "ce/seed1: averaging",
    ]
