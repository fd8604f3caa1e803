"""The benchmark's YAML file: what is read, and which mistakes are named."""

import pytest

pytest.importorskip("omegaconf")
pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.launch import match_batch
from el_plugins.nmt.benchmark.runs import Run
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
        ("train: --arch", 'train: "--arch \'x" # ', r"train: No closing quotation in \"--arch 'x\""),
        ("--log-end 1", "--log-end '1", "arguments of el: No closing quotation in .*--log-end '1"),
        ("seeds: [1, 2]", 'seeds: [1]\ngenerate: "\'"', "generate: No closing quotation in"),
        ("seeds: [1, 2]", "seeds: [one]", "'one'.* could not be converted to Integer"),
        ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds must be .* all different, got \[1, 1\]"),
        ("seeds: [1, 2]", "seeds: [0]", "seeds must be 1 or more, got 0"),
        ("seeds: [1, 2]", "seeds: []", "seeds must be one or more"),
        ("name: el", "name: ce", r"systems must be .* all different .* got \['ce', 'ce'\]"),
        ("name: el", "name: ../el", "becomes a folder's: .* got '../el'"),
        ("folder: bin", "foldr: bin", "Key 'foldr' not in 'Data'"),
        ("folder: bin, ", "", "lacks folder of data"),
        ("folder: bin", "folder: 'bin:too'", "folder of data must have no ':', .* got .*/bin:too"),
        ("seeds: [1, 2]", "seeds: [1]\noutput: 'at 12:30'", "output must have no ':', .* got .*/at 12:30"),
        ("criterion: cross_entropy", "arguments: x", "lacks criterion of a system"),
        ("train: --arch transformer\n", "", "lacks train"),
        ("{test: test.en}", "{test: test.en}, detokenizer: mecab", "null or moses, got 'mecab'"),
        ("{test: test.en}", "{}", "references of data must name"),
        ("{test: test.en}", "{pooled: test.en}", "no test subset may be called 'pooled'"),
        ("name: el", "name: CE", r"all different .case ignored., got \['ce', 'CE'\]"),
        (
            "seeds: [1, 2]",
            "seeds: [1]\nlaunch: {processes: 0}",
            "processes of launch must be 1 or more, got 0",
        ),
        ("seeds: [1, 2]", "seeds: [1]\nlaunch: {gpus: 2}", "Key 'gpus' not in 'Launch'"),
        ("seeds: [1, 2]", "average: 0\nseeds: [1]", "average must be 1 or more, got 0"),
        ("train:", "train: [", "(?s)settings.yaml: while parsing"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        read_settings(write(tmp_path, GOOD.replace(old, new)))


def test_what_the_results_depend_on(tmp_path):
    for name in ("bin/dict.en.txt", "bin/train.de-en.de.bin", "bin/test.de-en.de.bin", "test.en"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a 1\n")

    def settings(text):
        benchmark = read_settings(write(tmp_path, text))
        run = Run(benchmark, benchmark.systems[1], 2, tmp_path)
        return run.training_settings, run.evaluation_settings()

    first = settings(GOOD)
    assert settings(GOOD.replace("[1, 2]", "[2, 3]\ncluster: {slurm_partition: gpu}")) == first
    for old, new in [
        ("--log-end 1", "--log-end 0.5"),
        ("--arch transformer", "--arch fconv"),
        ("de,", "fr,"),
        ("seeds:", "launch: {processes: 2}\nseeds:"),
    ]:
        assert settings(GOOD.replace(old, new))[0] != first[0]
    for new in ("generate: --beam 4", "length_penalties: [1]", "data: {detokenizer: null}"):
        changed = (
            GOOD.replace("{test: test.en}", "{test: test.en}, detokenizer: null") if "data" in new else ""
        )
        second = settings(changed or f"{GOOD}{new}\n")
        assert second[0] == first[0]
        assert second[1] != first[1]
    for name, part in (("test.en", 1), ("bin/test.de-en.de.bin", 1), ("bin/train.de-en.de.bin", 0)):
        before = settings(GOOD)
        (tmp_path / name).write_text("b b\n")
        after = settings(GOOD)
        assert [after[n] == before[n] for n in (0, 1)] == [n != part for n in (0, 1)]


def test_values_of_the_command_line(tmp_path):
    text = GOOD.replace("folder: bin", "folder: '${output}/bin'") + "output: out\n"
    benchmark = read_settings(write(tmp_path, text))
    assert (benchmark.data.folder, benchmark.output) == (str(tmp_path / "out/bin"), str(tmp_path / "out"))
    benchmark = read_settings(
        write(tmp_path, text),
        output=tmp_path / "other",
        systems=["el"],
        seeds=[7],
        launch={"processes": 2},
        arguments=["--lr", "1 2"],
    )
    assert benchmark.data.folder == str(tmp_path / "other/bin")
    assert [system.arguments for system in benchmark.systems] == ["--log-end 1 --lr '1 2'"]
    assert (benchmark.seeds, benchmark.launch.world_size()) == ([7], 2)
    with pytest.raises(ValueError, match="systems to run must be of ce, el, got fl"):
        read_settings(write(tmp_path, GOOD), systems=["fl"])


def test_an_update_has_the_tokens_of_the_recipe(tmp_path, capsys):
    text = GOOD + "tokens_per_update: 16384\nlaunch: {processes: 2}\n"

    def match(*arguments, **options):
        benchmark = read_settings(write(tmp_path, text), arguments=arguments)
        match_batch(benchmark, **options)
        return benchmark.systems[0].arguments

    assert match("--max-tokens", "4096") == "--max-tokens 4096 --update-freq 2"
    expected = "2 x 4096 tokens x 2 = 16384 tokens per update; the recipe has 16384\n"
    assert capsys.readouterr().out == expected
    with pytest.raises(ValueError, match="8192 tokens per update are not the recipe's 16384: change"):
        match("--max-tokens", "4096", "--update-freq", "1")
    assert match("--max-tokens", "5000", any_batch=True) == "--max-tokens 5000 --update-freq 1"
    with pytest.raises(ValueError, match="must have --max-tokens"):
        match()
    with pytest.raises(ValueError, match="--update-freq must be a whole number, got 4,2"):
        match("--max-tokens", "4096", "--update-freq", "4,2")


@pytest.mark.parametrize(
    "path",
    sorted([*REPOSITORY.glob("examples/[!c]*.yaml"), *REPOSITORY.glob("benchmarks/*.yaml")]),  # not coco's
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_the_examples_are_read(path):
    assert read_settings(path).data.prepare
