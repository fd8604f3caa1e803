"""The detection benchmark's YAML file: what is read, and which mistakes are named."""

import pytest

pytest.importorskip("detectron2")

from el_plugins.detection.benchmark.settings import SHIPPED, read_settings, select
from tests.commands import REPOSITORY

GOOD = """\
data:
  train: {name: mine_train, annotations: train.json, images: train}
  test: {name: mine_test, annotations: test.json, images: test}
config: small_R_18_FPN_scratch.yaml
options: SOLVER.MAX_ITER 2
systems:
- {name: focal}
- {name: halted, options: "MODEL.META_ARCHITECTURE HaltedFocalRetinaNet"}
seeds: [1, 2]
"""


def write(folder, text):
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_paths_start_from_the_file_and_options_add_up(tmp_path):
    benchmark = read_settings(write(tmp_path, GOOD))
    assert benchmark.data.train.images == str(tmp_path / "train")
    assert benchmark.config == str(SHIPPED / "small_R_18_FPN_scratch.yaml")
    options = benchmark.config_options(benchmark.systems[1], 2)
    assert options[:4] == ["SOLVER.MAX_ITER", "2", "MODEL.META_ARCHITECTURE", "HaltedFocalRetinaNet"]
    assert options[-2:] == ["SEED", "2"]
    own = tmp_path / "small_R_18_FPN_scratch.yaml"
    own.write_text("VERSION: 2\n")
    assert read_settings(write(tmp_path, GOOD)).config == str(own)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds must be .* all different, got \[1, 1\]"),
        ("seeds: [1, 2]", "seeds: [-1]", "seeds must be 0 or more, got -1"),
        ("name: halted", "name: FOCAL", "systems must be .* all different"),
        ("name: halted", "name: ../el", "becomes a folder's: .* got '../el'"),
        ("name: mine_test", "name: mine_train", "train and test of data must have two names"),
        ("config: small_R_18_FPN_scratch.yaml\n", "", "config must name detectron2's YAML: focal has none"),
        ("config: small_R_18", "config: tiny", "config tiny_FPN_scratch.yaml does not exist .* none of"),
        ("images: train", "image: train", "Key 'image' not in 'DataSet'"),
        (", images: train", "", "lacks images of train of data"),
        ("seeds: [1, 2]", "seeds: [1]\ngpus: 0", "gpus must be 1 or more, or null for all, got 0"),
        ("options: SOLVER", "options: [", "(?s)settings.yaml: while parsing"),
        ("options: SOLVER", "options: A '", r"options: No closing quotation in \"A '"),
        ("MODEL.META_ARCHITECTURE", "'", "options of halted: No closing quotation"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        read_settings(write(tmp_path, GOOD.replace(old, new)))


def test_the_example_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    benchmark = read_settings(REPOSITORY / "examples" / "coco_retinanet.yaml")
    assert benchmark.weights == str(tmp_path / "R-50.pkl")
    assert benchmark.data.test.images == str(tmp_path / "coco" / "val2017")
    names = ["halted_focal_batch32", "focal"]
    assert [system.name for system in select(benchmark, names)] == names
    with pytest.raises(ValueError, match=r"systems must be of focal, .* got fancy"):
        select(benchmark, ["focal", "fancy"])
