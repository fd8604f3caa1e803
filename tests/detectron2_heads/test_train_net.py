"""train_net on real digits, as a user runs it: trained, stopped, resumed, evaluated; and two processes."""

import json
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands import REPOSITORY, run

pytest.importorskip("detectron2")
pytest.importorskip("sklearn")

from detectron2 import model_zoo
from sklearn.datasets import load_digits

from detectron2_heads.train_net import argument_parser, build_config, check_processes, setup
from experiments.detection.coco import write_split
from experiments.detection.digits import scenes
from tests.detectron2_heads.detectors import STOCK_YAML, gradients, retinanet, sample, training_losses


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve scenes to train on and four to validate on."""
    folder = tmp_path_factory.mktemp("digits")
    digits = load_digits()
    for split, count in {"train": 12, "val": 4}.items():
        pictures = scenes(digits.images, digits.target, np.full(10, 0.1), count, np.random.default_rng(count))
        write_split(folder, split, pictures, [str(digit) for digit in range(10)])
    return folder


def train_net(data, output, *arguments, check=True, module="detectron2_heads.train_net", **environment):
    """detectron2's stock RetinaNet config with the meta-architecture changed, small and from scratch."""
    command = [sys.executable, "-m", module]
    command += ["--config-file", model_zoo.get_config_file(STOCK_YAML)]
    for split in ("train", "val"):
        command += ["--dataset", f"mine_{split}", data / f"{split}.json", data / split]
    flags = [word for word in arguments if str(word).startswith("--")]
    given = [word for word in arguments if word not in flags]
    options = ["MODEL.META_ARCHITECTURE", "HaltedFocalRetinaNet", "MODEL.RETINANET.NUM_CLASSES", 10]
    options += ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.WEIGHTS", ""]
    options += ["MODEL.PIXEL_STD", "[57.0,57.0,57.0]", "INPUT.MIN_SIZE_TRAIN", "(128,)"]
    options += ["INPUT.MIN_SIZE_TEST", 128, "SOLVER.IMS_PER_BATCH", 1, "SOLVER.BASE_LR", 0.0001]
    options += ["DATASETS.TRAIN", "('mine_train',)", "DATASETS.TEST", "('mine_val',)"]
    options += ["MODEL.RETINANET.SCORE_THRESH_TEST", 0.0, "DATALOADER.NUM_WORKERS", 0]
    options += ["OUTPUT_DIR", output, "SEED", 1, *given]
    environment["PYTHONPATH"] = str(REPOSITORY)
    return run(*command, *flags, *options, check=check, env=environment, cwd=output.parent)


def normalizer(path):
    # detectron2's own checkpoint, of this very test
    return torch.load(path, map_location="cpu", weights_only=False)["loss_normalizer"]["value"]


def test_train_stop_resume_evaluate(data, tmp_path):
    output = tmp_path / "out"
    log = train_net(data, output, "SOLVER.MAX_ITER", 3)
    assert "3 iterations of 1 images at learning rate 0.0001: 0.25 epochs of 12 images" in log
    results = json.loads((output / "results.json").read_text())
    assert set(results["bbox"]) >= {"AP", "AP50", "AP75", "AP-0", "AP-9"}

    log = train_net(data, output, "--resume", "SOLVER.MAX_ITER", 6)
    assert "Starting training from iteration 3" in log
    results = json.loads((output / "results.json").read_text())

    (output / "results.json").unlink()
    train_net(data, output, "--eval-only", "--resume")
    again = json.loads((output / "results.json").read_text())
    assert again["bbox"]["AP50"] == pytest.approx(results["bbox"]["AP50"], nan_ok=True)


def test_a_resumed_training_sees_the_images_that_it_would_have(data, tmp_path):
    # Whole numbers for floats, as they are typed; a batch of two that do not divide the twelve images' order.
    options = ["SOLVER.IMS_PER_BATCH", 2, "DATASETS.TEST", "()", "MODEL.RETINANET.HALT_THRESHOLD", 1]
    options += ["MODEL.RETINANET.FOCAL_LOSS_GAMMA", 2]

    def ids(output, *arguments):
        log = train_net(data, output, *arguments, *options, module="tests.detectron2_heads.print_ids")
        return [line for line in log.splitlines() if line.startswith("IDS")]

    whole = ids(tmp_path / "whole", "SOLVER.MAX_ITER", 7)
    stopped = ids(tmp_path / "stopped", "SOLVER.MAX_ITER", 3)
    stopped += ids(tmp_path / "stopped", "--resume", "SOLVER.MAX_ITER", 7)
    assert stopped == whole
    assert len(set(whole)) > 5
    resumed, expected = (normalizer(tmp_path / name / "model_final.pth") for name in ("stopped", "whole"))
    # Images are flipped at random. Started anew at 100 it would be larger by more than 0.9**4 * 10.
    assert resumed == pytest.approx(expected, abs=3)


def test_a_training_that_diverges_says_when(data, tmp_path):
    output = tmp_path / "out"
    options = ["SOLVER.MAX_ITER", 9, "SOLVER.WARMUP_ITERS", 0, "SOLVER.BASE_LR", 1e30]
    log = train_net(data, output, *options, check=False)
    assert json.loads((output / "results.json").read_text()) == {"diverged": 2}
    assert f"train_net: diverged at iteration 2, see {output / 'results.json'}" in log


def test_nothing_detected_is_valid_json(data, tmp_path):
    output = tmp_path / "out"
    train_net(data, output, "SOLVER.MAX_ITER", 1, "MODEL.RETINANET.SCORE_THRESH_TEST", 1.0)
    text = (output / "results.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["bbox"]["AP"] is None


def test_bad_input_is_named(data, tmp_path):
    output = train_net(data, tmp_path / "out", "MODEL.RETINANET.HALT", "all", check=False)
    assert "halt (MODEL.RETINANET.HALT) must be one of foreground, both, authors, got 'all'" in output
    output = train_net(data, tmp_path / "out", "MODEL.RETINANET.NUM_CLASSES", 9, check=False)
    assert "NUM_CLASSES of the model must be at least the 10 classes of mine_train, got 9" in output
    json_file = tmp_path / "train.json"
    missing = argument_parser().parse_args(["--dataset", "mine_train", str(json_file), str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=f"--dataset mine_train: {json_file} does not exist"):
        setup(missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["RETINANET.HALT", "both"],
            "MODEL.RETINANET.HALT both would be ignored: MODEL.META_ARCHITECTURE must be",
        ),
        (
            ["ROI_BOX_HEAD.LOG_END", 1],
            "LOG_END 1.0 would be ignored: MODEL.ROI_HEADS.NAME must be Encouraging",
        ),
        (
            ["ROI_HEADS.NAME", "EncouragingROIHeads"],
            "MODEL.ROI_HEADS.NAME EncouragingROIHeads would be ignored",
        ),
    ],
)
def test_settings_that_the_stock_model_ignores(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build_config(model_zoo.get_config_file(STOCK_YAML), [f"MODEL.{options[0]}", options[1]])


def test_a_lazy_config_is_for_another_program():
    with pytest.raises(
        ValueError, match=r"--config-file must be a YAML file, got fcos\.py: train a LazyConfig"
    ):
        build_config("fcos.py", [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_gpus": 1000}, f"--num-gpus must be at most the {torch.cuda.device_count()} found, got 1000"),
        ({"num_gpus": -1}, "--num-gpus must be 1 or more, got -1"),
        ({"num_machines": 0}, "--num-machines must be 1 or more, got 0"),
        ({"num_machines": 2, "machine_rank": 2}, "--machine-rank must be 0 to 1, got 2"),
    ],
)
def test_impossible_numbers_of_processes(options, message):
    given = argument_parser().parse_args([])
    vars(given).update(options)
    with pytest.raises(SystemExit, match=re.escape(message)):
        check_processes(given)


@pytest.mark.long
def test_two_machines_without_a_gpu(data, tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"

    def train(rank):
        machine = [f"--num-machines=2 --machine-rank={rank} --dist-url={url}".split()]
        options = ["SOLVER.MAX_ITER", 1, "SOLVER.IMS_PER_BATCH", 2, "DATASETS.TEST", "()"]
        return train_net(data, tmp_path / "out", *machine[0], *options, CUDA_VISIBLE_DEVICES="")

    with ThreadPoolExecutor() as pool:
        logs = list(pool.map(train, range(2)))
    assert "World size: 2" in logs[0]
    assert (tmp_path / "out" / "model_final.pth").exists()


def test_help_says_where_data_sets_come_from():
    text = run(sys.executable, "-m", "detectron2_heads.train_net", "--help")
    assert "DETECTRON2_DATASETS" in text
    assert "--dataset NAME ANNOTATIONS IMAGES" in text


def test_two_processes_make_the_mean_step(tmp_path):
    script = Path(__file__).with_name("one_step.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run(*launcher, script, tmp_path / "gradients.pt", env={"PYTHONPATH": str(REPOSITORY)})
    together = torch.load(tmp_path / "gradients.pt")
    single = []
    for image in sample(3, 1):
        model = retinanet()
        single.append(gradients(model, training_losses(model, [image])))
    assert together.keys() == single[0].keys()
    for name, value in together.items():
        torch.testing.assert_close(value, (single[0][name] + single[1][name]) / 2, rtol=1e-4, atol=1e-6)
