"""Every command's arguments, drawn at random: a refusal in a line, or what was asked for; no traceback."""

import importlib
import os
import sys

import pytest

pytest.importorskip("fairseq")
pytest.importorskip("sentencepiece")
pytest.importorskip("submitit")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands import REPOSITORY, run

# Module of each command, its options that take a value, and its flags.
COMMANDS = {
    "el_plugins.checkpoints.average": [
        *("--inputs", "--output", "--num-epoch-checkpoints", "--num-update-checkpoints"),
        *("--num-best-checkpoints", "--checkpoint-upper-bound", "--unsafe"),
    ],
    "el_plugins.nmt.score": ["--reference", "--detokenizer", "--language", "--json"],
    "el_plugins.nmt.prepare": [
        *("--source", "--target", "--train", "--valid", "--test", "--tokenizer", "--lowercase", "--subwords"),
        *("--size", "--separate", "--max-length", "--max-ratio", "--allow-overlap"),
    ],
    "el_plugins.nmt.benchmark.__main__": [
        *(
            "--output",
            "--systems",
            "--seeds",
            "--processes",
            "--nodes",
            "--any-batch",
            "--cluster",
            "--hours",
        ),
        *("--jobs", "--check", "--dry-run", "--"),
    ],
    "el_plugins.detection.benchmark.__main__": [
        *("--output", "--systems", "--seeds", "--options", "--num-gpus", "--num-machines", "--machine-rank"),
        *("--master", "--wait"),
    ],
    "el_plugins.nmt.iwslt": ["de-en", "--url", "file:///none", "--trust-checksum"],
    "el_plugins.nmt.tatoeba": ["de", "--archive", "--trust-checksum"],
}
VALUES = [
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "nan",
        "inf",
        "1e9999",
        "99999999999999999999",
        "none",
        "a b",
        "'",
        '"',
        "\n",
        "-",
    ),
    *(
        "--",
        "=",
        "x=y",
        "../x",
        "/",
        "/dev/null",
        "ä",
        "\udcff",
        "\0",
        "$(touch harm)",
        "%s",
        "{}",
        "[",
        "text",
    ),
    *("bad.yaml", "latin.yaml", "tags.yaml", "de", "en", "moses", "bpe", "file"),
]
ATTACK = "!!python/object/apply:os.system ['touch harm']"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a few files that are nearly what the commands want."""
    pytest.importorskip("detectron2")
    monkeypatch.chdir(tmp_path)
    for scheme in ("http", "https"):  # nothing is downloaded
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    (tmp_path / "file").write_text("one\n")
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "latin.yaml").write_bytes("a: ä".encode("latin-1"))
    (tmp_path / "tags.yaml").write_text(f"seeds: {ATTACK}\n")
    for part, lines in {"text.de": "ein Haus\n", "text.en": "a house\n"}.items():
        (tmp_path / part).write_text(lines)
    return tmp_path


@pytest.mark.parametrize("module", COMMANDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_arguments(module, folder, data, capsys):
    sys.stderr.reconfigure(errors="backslashreplace")  # as Python's own, not pytest's
    words = st.one_of(st.sampled_from(COMMANDS[module]), st.sampled_from(VALUES))
    arguments = data.draw(st.lists(words, max_size=9))
    assert_refused_or_done(importlib.import_module(module).main, arguments, capsys)
    assert not (folder / "harm").exists()


def assert_refused_or_done(main, arguments, capsys):
    """Run a command; what is not its success is a usage error, or a message of few lines."""
    code = 0
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code
    if code == 2:
        code = capsys.readouterr().err
    assert code == 0 or (isinstance(code, str) and code.strip() and "Traceback" not in code), (
        arguments,
        code,
    )


@pytest.mark.parametrize("module", ["el_plugins.nmt.benchmark", "el_plugins.detection.benchmark"])
def test_help_waits_for_no_library(module):
    script = (
        f"import sys; from {module}.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', [name for name in ('torch', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    output = run(sys.executable, "-c", script, env={"PYTHONPATH": str(REPOSITORY)})
    assert "usage: el-" in output
    assert "LOADED []" in output


@pytest.mark.parametrize(
    "module", ["el_plugins.nmt.benchmark.settings", "el_plugins.detection.benchmark.settings"]
)
@pytest.mark.parametrize(
    "tag", [ATTACK, "!!python/name:os.system", "!!python/object/new:os.system [touch harm]"]
)
def test_object_tags_of_yaml_are_refused(module, tag, folder):
    (folder / "tags.yaml").write_text(f"seeds: {tag}\n")
    read = importlib.import_module(module).read_settings
    with pytest.raises(ValueError, match=r"(?s)tags\.yaml: could not determine a constructor for the tag"):
        read(folder / "tags.yaml")
    assert os.listdir(folder).count("harm") == 0


@pytest.mark.parametrize(
    "name", ["with space", "quote'\"", "new\nline", "-dash", "ünïcode", "$(touch harm)", "*"]
)
def test_odd_names_of_files(name, folder):
    import torch

    from el_plugins.checkpoints.average import main as average
    from el_plugins.nmt.score import main as score

    here = folder / name
    here.mkdir()
    torch.save({"w": torch.ones(2)}, here / name)
    average(["--inputs", str(here / name), "--output", str(here / f"{name}.pt")])
    assert torch.load(here / f"{name}.pt")["w"].tolist() == [1, 1]
    (here / name).write_text("one two three four\n")
    score([str(here / name), "--reference", str(here / name), "--json", str(here / "scores.json")])
    assert sorted(os.listdir(here)) == sorted([name, f"{name}.pt", "scores.json"])
    assert not (folder / "harm").exists()
