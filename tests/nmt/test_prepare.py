"""``el-nmt-prepare`` as a user runs it, and ``el-nmt-benchmark`` on what it made."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, run

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")
pytest.importorskip("submitit")
from el_plugins.nmt.benchmark.settings import read_settings
from el_plugins.nmt.prepare import main
from tests.nmt.preparation import fails, words
from tests.nmt.sentences import NEWS, TEST, TRAIN, VALID, write


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A corpus made by the command: (folder of text, folder made)."""
    folder = tmp_path_factory.mktemp("prepared")
    for name, pairs in {"train": TRAIN, "dev": VALID, "test": TEST, "news": NEWS}.items():
        write(folder, name, pairs)
    made = folder / "corpora" / "small one"
    main(words(folder, made, "--lowercase"))
    return folder, made


def test_what_is_made(prepared):
    _, made = prepared
    subwords = (made / "subwords" / "train.en").read_text().splitlines()
    assert len(subwords) == len(TRAIN)
    assert any("@@ " in line for line in subwords)
    tokens = (made / "tokens" / "captions.en").read_text().splitlines()
    assert tokens[0] == "the museum is closed on mondays ."
    assert tokens == [
        line.replace("@@ ", "") for line in (made / "subwords" / "captions.en").read_text().splitlines()
    ]
    plain = (made / "text" / "news.en").read_text(encoding="utf-8").splitlines()
    assert plain == [english.lower() for _, english in NEWS]
    parts = {path.name.split(".")[0] for path in (made / "bin").glob("*.idx")}
    assert parts == {"train", "valid", "captions", "news"}
    # Sharing all embeddings, as the settings do, needs one dictionary.
    assert (made / "bin" / "dict.de.txt").read_text() == (made / "bin" / "dict.en.txt").read_text()
    benchmark = read_settings(made / "benchmark.yaml")
    assert list(benchmark.data.references) == ["captions", "news"]
    assert benchmark.data.detokenizer == "moses"
    assert "--share-all-embeddings" in benchmark.train


def test_the_same_again_does_nothing_and_other_settings_are_refused(prepared, capsys):
    folder, made = prepared
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    main(words(folder, made, "--lowercase"))
    assert "made from the same text with the same settings: nothing to do" in capsys.readouterr().out
    assert "was made with other settings (lowercase): take another" in fails(words(folder, made))
    other = ["--lowercase", "--max-ratio", "2", f"--valid={folder / 'news'}"]
    assert "was made with other settings (max_ratio, text)" in fails(words(folder, made, *other))
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_gzip_tsv_sentencepiece_and_no_moses(text, tmp_path):
    for language in ("de", "en"):
        path = text / f"train.{language}"
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    (text / "dev").write_text("".join(f"{german}\t{english}\n" for german, english in VALID))
    options = [
        "--max-ratio",
        "inf",
        "--subwords",
        "sentencepiece",
        "--size",
        "150",
        "--tokenizer",
        "none",
        "--separate",
    ]
    made = tmp_path / "made #2 'of' 3 😀"
    main(words(text, *options, made))
    assert "▁" in (made / "subwords" / "train.en").read_text(encoding="utf-8")
    assert (made / "text" / "valid.de").read_text(encoding="utf-8").splitlines() == [de for de, _ in VALID]
    dictionaries = [(made / "bin" / f"dict.{language}.txt").read_text() for language in ("de", "en")]
    assert dictionaries[0] != dictionaries[1]
    benchmark = read_settings(made / "benchmark.yaml")
    assert Path(benchmark.output).resolve() == made.with_name(f"{made.name}_results")
    assert benchmark.data.remove_bpe == "sentencepiece"
    assert benchmark.data.detokenizer is None
    assert "--share-decoder-input-output-embed" in benchmark.train


def test_killed_and_started_again(text, tmp_path):
    made = tmp_path / "made"
    command = [sys.executable, "-m", "el_plugins.nmt.prepare", *words(text, made)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "made.unfinished" / "preprocess.log").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not made.exists()
    # fairseq-preprocess may still write there: the next start waits for it.
    main(words(text, made))
    assert (made / "benchmark.yaml").exists()
    assert not (tmp_path / "made.unfinished").exists()


def test_the_benchmark_runs_on_what_was_made(prepared, tmp_path):
    _, made = prepared
    settings = (made / "benchmark.yaml").read_text()
    changes = {
        # It ends within its first epoch: there is no epoch's checkpoint to average.
        "--max-update 2400": "--max-update 1 --num-workers 0",
        "--max-tokens 4096": "--max-tokens 200",
        "--max-tokens 4000": "--batch-size 1",  # official fairseq fails on padded batches with torch 2
        "--beam 5": "--beam 1 --max-len-b 5",
        "embed-dim 128": "embed-dim 16",
        "embed-dim 512": "embed-dim 16",
    }
    for old, new in changes.items():
        assert old in settings
        settings = settings.replace(old, new)
    settings = re.sub(r"  - \{name: ce_ls.*\n", "", settings)
    # The validation part can be scored as a test set is, as tuning needs.
    settings = re.sub(r'"news": .*', "valid: text/valid.en", settings)
    edited = made / "mine.yaml"
    edited.write_text(settings)
    command = (
        sys.executable,
        "-m",
        "el_plugins.nmt.benchmark",
        edited,
        "--output",
        tmp_path / "out",
        "--jobs",
        2,
    )
    printed = run(*command, cwd=REPOSITORY)
    assert "all test sets together, averaged checkpoint" in printed
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {(row["system"], row["subset"]) for row in rows} == {
        ("el_ls", "captions"),
        ("el_ls", "valid"),
        ("el_ls", "pooled"),
    }
