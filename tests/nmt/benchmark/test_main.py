"""``el-nmt-benchmark`` as a user runs it: whole, again, changed, and with a system that fails."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import processes, refusal, run, wait_until

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.__main__ import main
from tests.marks import long


@pytest.fixture(scope="module")
def benchmark(tiny_settings, tmp_path_factory):
    """A finished benchmark: (settings file, output folder, what was printed)."""
    folder = tmp_path_factory.mktemp("benchmark")
    more = "length_penalties: [1]"
    settings = tiny_settings(
        folder / "tiny.yaml", tokens=300, updates=6, average=2, systems=("ce", "el"), more=more
    )
    output = folder / "out"
    return settings, output, run("el-nmt-benchmark", settings, "--output", output)


def test_results(benchmark, corpus):
    _, output, printed = benchmark
    rows = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    scores = {(row["system"], row["seed"], row["checkpoint"]): row for row in rows}
    assert set(scores) == {
        (name, 1, kind) for name in ("ce", "el") for kind in ("best", "averaged", "averaged_tuned")
    }
    assert len(rows) == 6
    generated = output / "runs" / "el" / "seed1" / "translations" / "averaged.test.txt"
    scored = output / "scores.json"
    run("el-score", generated, "--reference", corpus[0] / "test.en", "--json", scored)
    expected = json.loads(scored.read_text())
    assert {metric: scores["el", 1, "averaged"][metric] for metric in expected} == expected
    assert scores["el", 1, "averaged_tuned"]["length_penalty"] == 1.0
    assert "el: not tested. test, averaged checkpoint: BLEU" in printed
    assert "no estimate of the variation over seeds" in printed
    assert "One seed: the paired tests in the report" in printed
    assert "peak memory (GiB)" in printed
    # A process that has loaded torch and fairseq.
    training = json.loads((output / "runs" / "el" / "seed1" / "result.json").read_text())["training"]
    assert 0.1 < training["memory_gib"] < 10


def test_again_does_nothing_and_a_changed_setting_is_refused(benchmark):
    settings, output, _ = benchmark
    # What is large is not needed any more.
    for path in (output / "runs").rglob("*.pt"):
        path.unlink()
    before = {path: path.stat().st_mtime for path in (output / "runs").rglob("*")}
    assert "2 of them complete already" in run("el-nmt-benchmark", settings, "--output", output)
    assert {path: path.stat().st_mtime for path in (output / "runs").rglob("*")} == before
    changed = settings.with_name("changed.yaml")
    changed.write_text(settings.read_text().replace("--lr 0.01", "--lr 0.02"))
    assert "was made with other settings (train): take another folder" in refusal(
        main, changed, "--output", output
    )
    assert {path: path.stat().st_mtime for path in (output / "runs").rglob("*")} == before


def test_a_start_with_some_systems_reports_all(benchmark):
    settings, output, _ = benchmark
    before = (output / "results.jsonl").read_text()
    printed = run("el-nmt-benchmark", settings, "--output", output, "--systems", "el")
    assert "1 runs in" in printed
    assert (output / "results.jsonl").read_text() == before
    assert "BLEU +" in printed or "BLEU -" in printed  # against ce, the baseline of the file


def test_the_file_is_read_and_its_batch_matched_once(benchmark, tmp_path, capsys):
    settings = tmp_path / "tiny.yaml"
    settings.write_text(benchmark[0].read_text().replace("seeds: [1]", "tokens_per_update: 300"))
    main([str(settings), "--seeds", "4", "--systems", "el", "--dry-run"])  # the file names no seed
    printed = capsys.readouterr().out
    assert printed.count("tokens per update; the recipe has 300") == 1
    assert "--seed 4" in printed
    assert " ce/seed4" not in printed
    assert "must be one or more, all different" in refusal(main, settings, "--seeds", "4", "4")


def test_failing_and_diverging_systems_stop_no_other(benchmark):
    settings, output, _ = benchmark
    more = settings.with_name("more.yaml")
    broken = "- {name: broken, criterion: encouraging_ls, arguments: --log-end 3}\n"
    diverging = "- {name: wild, criterion: encouraging_ls, arguments: --lr 1e30}\n"
    more.write_text(settings.read_text().replace("seeds:", f"{broken}{diverging}seeds:"))
    # Where all failed there is no table, and they are still named.
    printed = run("el-nmt-benchmark", more, "--output", output / "all", "--systems", "broken", check=False)
    assert "el-nmt-benchmark: 1 of 1 runs failed: broken/seed1" in printed

    printed = run("el-nmt-benchmark", more, "--output", output, check=False)
    assert "1 of 4 runs failed: broken/seed1" in printed
    assert "log_end" in (output / "runs" / "broken" / "seed1" / "failed.txt").read_text()
    assert "broken/seed1" in (output / "report.md").read_text()
    assert "| system |" in printed.replace("  ", "")

    folder = output / "runs" / "wild" / "seed1"
    assert json.loads((folder / "result.json").read_text())["diverged"] == 2  # after one update of 1e30
    assert not (folder / "checkpoints" / "crash.pt").exists()
    rows = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    assert [row for row in rows if row["system"] == "wild"] == [{"system": "wild", "seed": 1, "diverged": 2}]
    assert "wild: no result. test, averaged checkpoint: wild diverged at step 2" in printed
    rows = [line for line in printed.splitlines() if "| wild, diverged at step 2 (seed 1) |" in line]
    assert all(re.search(r"\|\s+no result \|", row) for row in rows)
    assert rows
    assert "no result, diverged at step 2" in (output / "figures" / "differences.svg").read_text()
    before = (folder / "train.log").stat().st_mtime_ns
    again = run("el-nmt-benchmark", more, "--output", output, "--systems", "wild")
    assert f"wild/seed1 diverged at step 2 before; to try again, delete {folder}" in again
    assert (folder / "train.log").stat().st_mtime_ns == before


@pytest.mark.long
def test_nothing_but_diverged_runs(tiny_settings, tmp_path):
    # One batch an epoch: it is validation that finds the first update to have broken the model.
    settings = tiny_settings(tmp_path / "wild.yaml", tokens=3000, updates=3, average=1)
    settings.write_text(settings.read_text().replace("--lr 0.01", "--lr 1e30"))
    printed = run("el-nmt-benchmark", settings, "--output", tmp_path / "out")
    assert "el, diverged at step 1 (seed 1)" in printed


def test_bad_input_is_named(benchmark, tmp_path, capsys):
    assert "No such file" in refusal(main, tmp_path / "none.yaml")
    settings = tmp_path / "missing.yaml"
    settings.write_text(benchmark[0].read_text().replace("test.en", "none.en"))
    assert "none.en does not exist, and no command" in refusal(main, settings)
    for hours in ("nan", "inf", "0"):
        with pytest.raises(SystemExit):
            main([str(settings), "--hours", hours])
        assert f"--hours must be a number above 0, got {hours}" in capsys.readouterr().err


def test_another_detokenizer_scores_again_and_translates_nothing(benchmark):
    settings, output, _ = benchmark
    changed = settings.with_name("moses.yaml")
    changed.write_text(settings.read_text().replace("detokenizer: null", "detokenizer: moses"))
    translations = {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("translations/*.txt")}
    command = ("el-nmt-benchmark", changed, "--output", output, "--systems", "ce", "--seeds", "1")
    printed = run(*command)
    assert "1 runs in" in printed
    assert "el/seed1 is left out of the report: it was scored with other settings" in printed
    again = {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("translations/*.txt")}
    assert again == translations
    result = json.loads((output / "runs" / "ce" / "seed1" / "result.json").read_text())
    assert result["evaluation"]["detokenizer"] == "moses"


def test_check_trains_nothing(benchmark, tmp_path):
    settings, _, _ = benchmark
    command = (settings, "--output", tmp_path / "out", "--check")
    assert "all checks passed" in run("el-nmt-benchmark", *command)
    assert "unrecognized arguments: --wrong" in refusal(main, *command, "--", "--wrong")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["ctrl-c in the background", *long("kill", "ctrl-c")])
def test_a_signal_ends_the_training_too(benchmark, how, tmp_path):
    settings = tmp_path / "long.yaml"
    settings.write_text(benchmark[0].read_text().replace("--max-update 6", "--max-update 100000"))
    command = [
        str(Path(sys.executable).with_name("el-nmt-benchmark")),
        str(settings),
        "--output",
        str(tmp_path),
    ]
    marker = f"STOP_TEST={tmp_path.name}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **dict([marker.split("=")])}
    if how == "ctrl-c in the background":  # a shell starts it with that ignored
        command = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *command]
    options = {"env": environment, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as process:
        wait_until((tmp_path / "runs" / "ce" / "seed1" / "checkpoints" / "checkpoint1.pt").exists)
        if how == "kill":
            process.terminate()
        else:  # a terminal sends it to all that it runs
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert said.endswith("\nel-nmt-benchmark: stopped; start it again to resume\n")
    assert "Traceback" not in said
    wait_until(lambda: not processes(marker))
