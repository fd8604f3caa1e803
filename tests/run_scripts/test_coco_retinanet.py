"""The COCO recipe whole, offline, on archives of COCO's layout made from real digits."""

import json
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest

from tests.commands import REPOSITORY, run

pytest.importorskip("detectron2")
pytest.importorskip("sklearn")

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.modeling.backbone import BasicStem, ResNet
from sklearn.datasets import load_digits

from el_plugins.detection.coco import write_split
from experiments.detection.digits import scenes

SCRIPT = REPOSITORY / "run_scripts" / "coco_retinanet.sh"
# Small and short, so that it runs here; the recipe's own values stay where this is silent.
SMALL = (
    "SOLVER.REFERENCE_WORLD_SIZE 0 SOLVER.IMS_PER_BATCH 1 SOLVER.MAX_ITER 2 INPUT.MIN_SIZE_TRAIN (96,) "
    "INPUT.MIN_SIZE_TEST 96 MODEL.RETINANET.SCORE_THRESH_TEST 0.0  "
    "DATALOADER.NUM_WORKERS 0 MODEL.RETINANET.NUM_CONVS 1 SOLVER.BASE_LR 0.0001"
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
    stages = ResNet.make_default_stages(50, stride_in_1x1=True, norm="FrozenBN")
    backbone = ResNet(BasicStem(norm="FrozenBN"), stages).state_dict()
    weights = {"model": {name: value.numpy() for name, value in backbone.items()}, "__author__": "random"}
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
        **environment,
    }
    return run("bash", SCRIPT, *arguments, cwd=folder, check=check, env=environment)


def test_the_whole_recipe_and_again(mirror, tmp_path):
    output = recipe(mirror, tmp_path, *SMALL)
    assert "2 iterations of 1 images at learning rate 0.0001: 0.67 epochs of 3 images" in output
    rows = [line.split("|") for line in output.splitlines() if line.startswith("| ") and "focal" in line]
    assert {row[1].strip(): row[2].strip() for row in rows} == {"focal": "2", "halted_focal": "2"}
    assert "±" in (tmp_path / "out" / "report.md").read_text()
    again = recipe(mirror, tmp_path, *SMALL)
    assert again.count(" is done") == 4
    assert "Starting training" not in again


def test_dry_run_prints_the_launch_of_several_machines(mirror, tmp_path):
    machines = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "NUM_GPUS": "4"}
    output = recipe(mirror, tmp_path, DRY_RUN="1", SEEDS="7", **machines)
    assert output.count("detectron2_heads.train_net --resume") == 2
    assert "--num-gpus 4 --num-machines 2 --machine-rank 1 --dist-url tcp://10.0.0.1:29500" in output
    assert "retinanet_R_50_FPN_1x_halted_focal.yaml" in output
    assert not (tmp_path / "datasets").exists()
    assert "MASTER_ADDR" in recipe(mirror, tmp_path, check=False, DRY_RUN="1", NNODES="2")


def test_bad_input_is_named(mirror, tmp_path):
    assert "SYSTEMS must be of focal" in recipe(mirror, tmp_path, check=False, SYSTEMS="fancy")
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
    assert "lacks 2 of 2 pictures, such as 000001.png" in recipe(broken, tmp_path, check=False)
