"""The speed of a training, from the log of a command in fairseq-train's place."""

import json

import pytest

pytest.importorskip("fairseq")

from benchmarks import training


@pytest.fixture
def logs(monkeypatch, tmp_path):
    """Let the training print these figures of its steps, and end with this status."""

    def logs(steps, status=0):
        lines = ["a line | of another | kind"]
        lines += [f"2022-02-22 10:00:00 | INFO | train_inner | {json.dumps(step)}" for step in steps]
        lines += ['2022-02-22 10:00:01 | INFO | train | {"train_wps": "7", "train_wpb": "7"}']
        (tmp_path / "log").write_text("\n".join(lines) + "\n")
        program = tmp_path / "fairseq-train"
        program.write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat {tmp_path}/log\nexit {status}\n'
        )
        program.chmod(0o755)
        monkeypatch.setattr(training, "find_command", lambda name: str(tmp_path / name))

    return logs


def test_words_a_second_count_from_the_warmed_up_step_on(logs, tmp_path):
    slow = [{"wps": "1", "wpb": "100"}] * training.WARMED_UP
    logs([*slow, {"wps": "50", "wpb": "100"}, {"wps": "300", "wpb": "300"}])
    figures = training.train("EL, fused output layer", tmp_path / "data", 10, cpu=True)
    assert figures["words"] == pytest.approx(400 / 3)  # in 2 seconds and in 1
    assert figures["memory"] > 0
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith(f"{tmp_path / 'data'} ")
    assert {"encouraging_ls", "--fused-output-layer", "--arch", "--cpu"} <= {*arguments.split()}
    assert "--smoothing" not in arguments.split()  # fairseq's own criterion lacks it
    assert arguments.rpartition("--max-update ")[2].startswith("10 ")  # the last one counts


def test_a_training_that_fails_is_shown(logs, tmp_path):
    logs([], status=1)
    with pytest.raises(RuntimeError, match=r"(?s)fairseq-train with EL failed:.*a line \| of another"):
        training.train("EL", tmp_path, 10, cpu=True)
