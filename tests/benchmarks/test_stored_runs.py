"""Runs that were stored and restored, by a real benchmark."""

import shutil

import pytest

pytest.importorskip("fairseq")
pytest.importorskip("submitit")

from benchmarks import stored_runs
from el_plugins.nmt.scoring import read_generated
from tests.commands import refusal, run

RUN = ("runs", "ce", "seed1")


@pytest.fixture(scope="module")
def stored(settings, tmp_path_factory):
    """A benchmark that was run and stored: (its folder, folder of the stored run)."""
    folder = tmp_path_factory.mktemp("stored")
    run("el-nmt-benchmark", settings, "--systems", "ce", "--output", folder / "output")
    stored_runs.main(["store", str(settings), str(folder / "kept"), "--output", str(folder / "output")])
    return folder / "output", folder / "kept"


def test_a_restored_run_is_complete_and_has_the_same_scores(settings, stored, tmp_path):
    output, kept = stored
    assert {path.name for path in kept.joinpath(*RUN).iterdir()} == {
        "settings.json",
        "result.json",
        "averaged.test.txt",
    }
    stored_runs.main(["restore", str(settings), str(kept), "--output", str(tmp_path / "again")])
    place = "translations/averaged.test.txt"
    before, after = (read_generated(folder.joinpath(*RUN, place)) for folder in (output, tmp_path / "again"))
    assert before == after
    printed = run("el-nmt-benchmark", settings, "--systems", "ce", "--output", tmp_path / "again")
    assert "1 runs in" in printed
    assert "1 of them complete already" in printed
    assert "peak memory (GiB)" in printed
    assert "words a second" not in printed
    for name in ("results.jsonl", "figures/nll.svg", "figures/lengths.svg"):
        assert (output / name).read_text() == (tmp_path / "again" / name).read_text()


def test_a_stored_run_that_is_there_stays(settings, stored, capsys):
    output, kept = stored
    stored_runs.main(["store", str(settings), str(kept), "--output", str(output)])
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "averaged.test.txt",
            lambda text: text.partition("\n")[2],
            "averaged.test.txt has 11 lines, test has 12",
        ),
        (
            "settings.json",
            lambda text: text.replace('"seed": 1', '"seed": 2'),
            "was made with other settings (seed)",
        ),
    ],
)
def test_what_is_refused(settings, stored, tmp_path, name, change, message):
    _, kept = stored
    shutil.copytree(kept, tmp_path / "kept")
    path = tmp_path.joinpath("kept", *RUN, name)
    path.write_text(change(path.read_text()))
    output = tmp_path / "output"
    refused = refusal(stored_runs.main, "restore", settings, tmp_path / "kept", "--output", output)
    assert message in refused
    assert not output.joinpath(*RUN).exists()
