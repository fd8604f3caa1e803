"""The IWSLT recipes whole, offline, on small archives; started again, stopped, and given bad input."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, processes, run, wait_until

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.check import sentence_lengths
from el_plugins.nmt.benchmark.settings import read_settings
from el_plugins.utils.files import sha256
from tests.run_scripts.iwslt_recipe import ENVIRONMENT, SMALL, prepared, recipe, start


def test_german_english(de_en, de_en_script, archives):
    output, printed = de_en
    assert "1 x 2048 tokens x 1 = 2048 tokens per update; the recipe has 16384" in printed
    folder = output / "runs" / "el_ls" / "seed1"
    rows = json.loads((folder / "result.json").read_text())["scores"]
    (averaged,) = [row for row in rows if row["checkpoint"] == "averaged"]
    assert f"{averaged['bleu']['score']:.2f} |" in next(
        line for line in printed.splitlines() if "el_ls |" in line
    )
    log = (folder / "train.log").read_text()
    for setting in ("'label_smoothing': 0.1", "'smoothing': 'uniform'", "'log_end': 0.5", "'lr': [0.001]"):
        assert setting in log
    # Five sets of six sentences in one test, in lower case, with Moses' entities and joined subwords.
    translations = folder / "translations" / "averaged.test.txt"
    assert sum(line.startswith("H-") for line in translations.open()) == 30
    references = (output / "data" / "text" / "test.en").read_text()
    assert references == references.lower()
    train, valid = (
        (output / "data" / "subwords" / f"{part}.de").read_text().splitlines() for part in ("train", "valid")
    )
    assert len(valid) == (len(train) + len(valid)) // 23
    assert not any("<" in line or "ted.com" in line for line in train)
    logs = {path: path.stat().st_mtime_ns for path in folder.rglob("*.log")}
    again = recipe(
        de_en_script, output, archives["de"], "--loss", "el_ls", "--", *SMALL, "--max-update", "20"
    )
    assert "1 of them complete already" in again
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.log")} == logs


@pytest.mark.long
def test_two_processes(de_en, de_en_script, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    arguments = ["--loss", "el", "--", *SMALL, "--max-update", "10"]
    printed = recipe(de_en_script, output, archives["de"], *arguments, PROCESSES="2")
    assert "2 x 2048 tokens x 1 = 4096 tokens per update" in printed
    assert "training on 2 devices" in (output / "runs" / "el" / "seed1" / "train.log").read_text()
    assert (output / "runs" / "el" / "seed1" / "result.json").exists()


def test_other_settings_never_mix(de_en, de_en_script, archives):
    arguments = ["--loss", "el_ls", "--", *SMALL, "--max-update", "30"]
    refused = recipe(de_en_script, de_en[0], archives["de"], *arguments, check=False)
    assert "was made with other settings (arguments): take another folder" in refused


@pytest.mark.long
def test_french_english(scripts, archives, tmp_path):
    output = tmp_path / "out"
    arguments = ["--loss", "ce", "--", *SMALL, "--max-update", "20"]
    printed = recipe(scripts["iwslt17_fr_en"], output, archives["fr"], *arguments)
    assert "all test sets together, averaged checkpoint" in printed
    folder = output / "runs" / "ce" / "seed1"
    log = (folder / "train.log").read_text()
    assert "'eval_bleu_remove_bpe': 'sentencepiece'" in log
    assert "'bonus': 'none'" in log
    # Cased, and whole words: no piece is left where tokens are compared.
    assert "▁" in (output / "data" / "subwords" / "train.en").read_text()
    translations = folder / "translations" / "averaged.test5.txt"
    assert not any("▁" in line for line in translations.open() if line[:2] in ("H-", "T-"))
    text = (output / "data" / "text" / "test.en").read_text()
    assert text != text.lower()
    # The recipe's own settings have all six test sets.
    settings = read_settings(REPOSITORY / "examples" / "iwslt17_fr_en.yaml", output=output)
    for subset in settings.data.references:
        assert [len(side) for side in sentence_lengths(settings.data, subset).values()] == [6, 6]
    assert all(Path(reference).exists() for reference in settings.data.references.values())


@pytest.mark.long
def test_stopped_and_started_again(de_en, de_en_script, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    command = [de_en_script, output, archives["de"], "--loss", "el", "--", *SMALL, "--max-update", "40"]
    folder = output / "runs" / "el" / "seed1"
    with start(*command, stdout=subprocess.DEVNULL, PROCESSES="2", STOP_TEST=tmp_path.name) as process:
        wait_until((folder / "checkpoints" / "checkpoint3.pt").exists, process, 600)
        refused = recipe(*command, PROCESSES="2", check=False)
        assert f"another start of a recipe still works in {output}" in refused
        process.terminate()
        assert process.wait(timeout=60) != 0
    wait_until(lambda: not processes(f"STOP_TEST={tmp_path.name}"), seconds=60)
    recipe(*command, PROCESSES="2")
    assert "Loaded checkpoint" in (folder / "train.log").read_text()
    assert (folder / "result.json").exists()


def test_dry_run_prints_every_command(de_en_script, tmp_path):
    machines = {
        "NNODES": "2",
        "NODE_RANK": "0",
        "MASTER_ADDR": "10.0.0.1",
        "NUM_GPUS": "2",
        "UPDATE_FREQ": "",
    }
    environment = {"MAX_TOKENS": "", "ANY_BATCH": "", "DRY_RUN": "1", "PRECISION": "bf16", **machines}
    printed = run(
        *("bash", de_en_script, "--loss", "ce_ls el_ls", "--seeds", "1 2", "--output", tmp_path / "out"),
        env={**ENVIRONMENT, **environment},
    )
    assert "4 x 4096 tokens x 1 = 16384 tokens per update; the recipe has 16384" in printed
    assert f"-m el_plugins.nmt.iwslt de-en '{tmp_path}/out/de-en.tgz'" in printed
    launch = "--nproc_per_node 2 --nnodes 2 --node_rank 0 --master_addr 10.0.0.1 --master_port 29500"
    assert printed.count(launch) == 4
    assert printed.count("--bf16") == 4
    assert sum(line.startswith("fairseq-generate") for line in printed.splitlines()) == 8
    assert not (tmp_path / "out").exists()


def test_bad_input_is_named(de_en_script, archives, tmp_path):
    output = tmp_path / "out"

    def refused(*arguments, archive=archives["de"], **environment):
        return recipe(de_en_script, output, archive, *arguments, check=False, **environment)

    assert "must be of ce_ls, ce, el, el_ls, got fl" in refused("--loss", "fl")
    assert "unknown argument --los" in refused("--los")
    assert "--seeds needs a value" in refused("--seeds")
    assert "PRECISION must be fp16, bf16 or fp32, got fp8" in refused(PRECISION="fp8")
    assert "NUM_GPUS must be a whole number, got many" in refused(NUM_GPUS="many")
    machines = {"NNODES": "2", "MASTER_ADDR": "x"}
    assert "NODE_RANK must be 0 to 1, got 2" in refused(NODE_RANK="2", DRY_RUN="1", **machines)
    dry = refused(ANY_BATCH="", DRY_RUN="1")
    assert "2048 tokens per update are not the recipe's 16384: change --max-tokens or --update-freq" in dry
    assert "none.tgz does not exist" in refused(archive=tmp_path / "none.tgz")
    cut = tmp_path / "de-en.tgz"
    cut.write_bytes(archives["de"].read_bytes()[:-2000])
    assert "de-en.tgz is damaged, or not a .tgz or .zip" in refused(archive=cut)
    foreign = refused(archive=archives["fr"])
    assert "is not IWSLT's de-en archive: it lacks de-en/train.tags.de-en.de and 11 more of the 12" in foreign
    assert not (output / "data").exists()


def test_downloads_are_checked(de_en_script, archives, tmp_path):
    output, url = tmp_path / "out", f"file://{archives['de']}"
    words = ["bash", de_en_script, "--seeds", "1", "--output", output, "--loss", "ce", "--", *SMALL]
    environment = {**ENVIRONMENT, "ARCHIVE_URL": url}
    digest = sha256(archives["de"])
    refused = run(*words, check=False, env=environment)
    assert f"has SHA-256 {digest}, and none is on record" in refused
    assert not (output / "de-en.tgz").exists()
    words[2:2] = ["--trust-checksum", digest]
    # The unknown argument stops it after the download and the preparation, which are tested here.
    printed = run(*words, "--no-such-argument", check=False, env=environment)
    assert "fairseq refuses the arguments of the training of ce: unrecognized arguments: --no-such" in printed
    archive = output / "de-en.tgz"
    assert archive.read_bytes() == archives["de"].read_bytes()
    assert Path(f"{archive}.sha256").read_text().endswith("de-en.tgz\n")
    shutil.rmtree(output / "data")
    archive.write_bytes(archives["fr"].read_bytes())
    printed = run(*words, check=False, env=environment)
    assert "has changed since it was first read: delete it" in printed
