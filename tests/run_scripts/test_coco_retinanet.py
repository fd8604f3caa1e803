"""The COCO recipe whole, offline, on archives of COCO's layout made from real digits."""

import json
import pickle
import shlex
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch

from tests.commands import REPOSITORY, run

pytest.importorskip("detectron2")
pytest.importorskip("sklearn")

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.modeling.backbone import BasicStem, ResNet
from sklearn.datasets import load_digits

from el_plugins.utils.files import sha256
from experiments.detection.coco import write_split
from experiments.detection.digits import scenes

SCRIPT = REPOSITORY / "run_scripts" / "coco_retinanet.sh"
# Small and short, so that it runs here; the recipe's own values stay where this is silent.
SMALL = (
    "SOLVER.REFERENCE_WORLD_SIZE 0 SOLVER.IMS_PER_BATCH 1 SOLVER.MAX_ITER 2 INPUT.MIN_SIZE_TRAIN (96,) "
    "INPUT.MIN_SIZE_TEST 96 MODEL.RETINANET.SCORE_THRESH_TEST 0.0 "
    "DATALOADER.NUM_WORKERS 0 MODEL.RETINANET.NUM_CONVS 1 SOLVER.BASE_LR 1e-8"
).split()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """What COCO's server and the model zoo hold: two zips of pictures, one of annotations, a backbone."""
    folder = tmp_path_factory.mktemp("mirror")
    digits = load_digits()
    things = [category for category in COCO_CATEGORIES if category["isthing"]]
    pieces = folder / "pieces"
    for split, count in {"train2017": 3, "val2017": 2}.items():
        pictures = scenes(digits.images, digits.target, np.full(10, 0.1), count, np.random.default_rng(count))
        write_split(pieces, split, pictures, [thing["name"] for thing in things])
        content = json.loads((pieces / f"{split}.json").read_text())
        for entry in content["annotations"]:
            entry["category_id"] = things[entry["category_id"] - 1]["id"]
        content["categories"] = [{"id": thing["id"], "name": thing["name"]} for thing in things]
        (pieces / "annotations").mkdir(exist_ok=True)
        (pieces / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        shutil.make_archive(folder / "zips" / split, "zip", pieces, split)
    shutil.make_archive(folder / "annotations" / "annotations_trainval2017", "zip", pieces, "annotations")
    torch.manual_seed(0)
    stages = ResNet.make_default_stages(50, stride_in_1x1=True, norm="FrozenBN")
    backbone = ResNet(BasicStem(norm="FrozenBN"), stages).state_dict()
    # Unscaled, the features of a random backbone explode, and every box ends outside of its image.
    arrays = {name: (value / 4 if value.ndim == 4 else value).numpy() for name, value in backbone.items()}
    weights = {"model": arrays, "__author__": "random", "matching_heuristics": True}
    (folder / "R-50.pkl").write_bytes(pickle.dumps(weights))
    return folder


def recipe(mirror, folder, *arguments, check=True, **environment):
    environment = {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY),
        "COCO_URL": f"file://{mirror}",
        "WEIGHTS_URL": f"file://{mirror}",
        "DETECTRON2_DATASETS": str(folder / "datasets"),
        "OUTPUT": str(folder / "out"),
        "SEEDS": "1 2",
        "TRUST_CHECKSUM": " ".join(
            sha256(path) for name in ("*.zip", "*.pkl") for path in mirror.rglob(name)
        ),
        **environment,
    }
    return run("bash", SCRIPT, *arguments, cwd=folder, check=check, env=environment)


def test_the_whole_recipe_and_again(mirror, tmp_path):
    output = recipe(mirror, tmp_path, *SMALL)
    log = (tmp_path / "out" / "runs" / "focal" / "seed1" / "train.log").read_text()
    assert "2 iterations of 1 images at learning rate 1e-08: 0.67 epochs of 3 images" in log
    rows = [line.split("|") for line in output.splitlines() if line.startswith("| ") and "focal" in line]
    assert {row[1].strip(): row[2].strip() for row in rows[:2]} == {"focal": "2", "halted_focal": "2"}
    assert "±" in (tmp_path / "out" / "report.md").read_text()
    assert "4 of them complete already" in recipe(mirror, tmp_path, *SMALL)
    # Other settings in the folder of finished runs.
    other = recipe(mirror, tmp_path, *SMALL, "MODEL.RETINANET.FOCAL_LOSS_GAMMA", "2", check=False)
    assert "was made with other settings (MODEL.RETINANET.FOCAL_LOSS_GAMMA): take another folder" in other


def test_dry_run_prints_the_launch_of_several_machines(mirror, tmp_path):
    machines = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "NUM_GPUS": "4"}
    output = recipe(mirror, tmp_path, "A.B", "(1, 2)", DRY_RUN="1", SEEDS="7", **machines)
    # The first machine downloads.
    (command,) = output.strip().splitlines()
    assert "--num-gpus 4 --num-machines 2 --machine-rank 1 --master 10.0.0.1:29500 --wait 120" in command
    words = shlex.split(command)
    assert words[words.index("--systems") : words.index("--options")] == [
        *("--systems", "focal", "halted_focal", "--seeds", "7")
    ]
    assert shlex.split(words[words.index("--options") + 1]) == ["A.B", "(1, 2)"]
    assert not (tmp_path / "datasets").exists()
    assert "MASTER_ADDR" in recipe(mirror, tmp_path, check=False, DRY_RUN="1", NNODES="2")


def test_help_downloads_nothing(mirror, tmp_path):
    output = recipe(mirror, tmp_path, "--help")
    assert "NUM_GPUS" in output
    assert "set -euo" not in output
    assert not list(tmp_path.iterdir())


def test_bad_input_is_named(mirror, tmp_path):
    many = recipe(mirror, tmp_path, check=False, NUM_GPUS="many")
    assert "NUM_GPUS must be a whole number from 1, got many" in many
    assert "SYSTEMS must be of focal" in recipe(mirror, tmp_path, check=False, SYSTEMS="fancy")
    unknown = recipe(mirror, tmp_path, check=False, TRUST_CHECKSUM="")
    assert "R-50.pkl.part has SHA-256" in unknown
    assert ", and none is on record: delete it" in unknown
    assert not (tmp_path / "datasets" / "coco").exists()
    unknown = recipe(mirror, tmp_path, check=False, TRUST_CHECKSUM=sha256(mirror / "R-50.pkl"))
    assert "annotations_trainval2017.zip.part has SHA-256" in unknown
    assert "expected 113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268: delete it" in unknown
    broken = tmp_path / "broken"
    shutil.copytree(mirror, broken)
    archive = broken / "zips" / "val2017.zip"
    archive.write_bytes(archive.read_bytes()[:2000])
    assert "val2017.zip is damaged" in recipe(broken, tmp_path, check=False)
    assert not (tmp_path / "datasets" / "coco" / "val2017").exists()
    archive.unlink()
    (tmp_path / "datasets" / "coco" / "val2017.zip").unlink()
    assert "cannot download file:" in recipe(broken, tmp_path, check=False)
    # Another archive under the right name: pictures that the annotations do not name.
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("val2017/x.png", b"")
    assert "lacks 2 of 2 images, such as 000001.png" in recipe(broken, tmp_path, check=False)
