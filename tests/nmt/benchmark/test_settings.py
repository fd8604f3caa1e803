"""The benchmark's YAML file: what is read, and which mistakes are named."""

import pytest

pytest.importorskip("omegaconf")
pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark.settings import read_settings
from tests.commands import REPOSITORY

GOOD = """\
data: {folder: bin, source: de, target: en, references: {test: test.en}}
train: --arch transformer
systems:
- {name: ce, criterion: cross_entropy}
- {name: el, criterion: encouraging_ls, arguments: --log-end 1}
seeds: [1, 2]
"""


def write(folder, text):
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_an_empty_file_lacks_everything(tmp_path):
    with pytest.raises(ValueError, match="lacks train, systems, seeds, folder of data"):
        read_settings(write(tmp_path, "# nothing yet\n"))


def test_paths_start_from_the_file(tmp_path):
    benchmark = read_settings(write(tmp_path, GOOD))
    assert benchmark.data.folder == str(tmp_path / "bin")
    assert benchmark.data.references == {"test": str(tmp_path / "test.en")}
    assert [system.name for system in benchmark.systems] == ["ce", "el"]
    assert benchmark.average == 10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [1, 2]", "seeds: [one]", "'one' .* could not be converted to Integer"),
        ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds must be .* all different, got \[1, 1\]"),
        ("seeds: [1, 2]", "seeds: [0]", "seeds must be 1 or more, got 0"),
        ("seeds: [1, 2]", "seeds: []", "seeds must be one or more"),
        ("name: el", "name: ce", r"systems must be .* all different, got \['ce', 'ce'\]"),
        ("name: el", "name: ../el", "becomes a folder's: .* got '../el'"),
        ("folder: bin", "foldr: bin", "Key 'foldr' not in 'Data'"),
        ("folder: bin, ", "", "lacks folder of data"),
        ("criterion: cross_entropy", "arguments: x", "lacks criterion of a system"),
        ("train: --arch transformer\n", "", "lacks train"),
        ("{test: test.en}", "{test: test.en}, detokenizer: mecab", "null or moses, got 'mecab'"),
        ("{test: test.en}", "{}", "references of data must name"),
        ("{test: test.en}", "{pooled: test.en}", "no test subset .* may be called 'pooled'"),
        ("seeds: [1, 2]", "average: 0\nseeds: [1]", "average must be 1 or more, got 0"),
        ("train:", "train: [", "(?s)settings.yaml: while parsing"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        read_settings(write(tmp_path, GOOD.replace(old, new)))


def test_what_the_results_depend_on(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dict.en.txt").write_text("a 1\n")
    (tmp_path / "test.en").write_text("a\n")

    def fingerprint(text):
        benchmark = read_settings(write(tmp_path, text))
        return benchmark.fingerprint(benchmark.systems[1], 2)

    first = fingerprint(GOOD)
    assert (
        fingerprint(GOOD.replace("seeds: [1, 2]", "seeds: [2, 3]\ncluster: {slurm_partition: gpu}")) == first
    )
    for old, new in [
        ("--log-end 1", "--log-end 0.5"),
        ("--arch transformer", "--arch fconv"),
        ("de,", "fr,"),
    ]:
        assert fingerprint(GOOD.replace(old, new)) != first
    (tmp_path / "test.en").write_text("b\n")
    assert fingerprint(GOOD) != first


@pytest.mark.parametrize(
    "path",
    sorted([*REPOSITORY.glob("examples/[!c]*.yaml"), *REPOSITORY.glob("benchmarks/*.yaml")]),  # not coco's
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_the_examples_are_read(path):
    assert read_settings(path).data.prepare
