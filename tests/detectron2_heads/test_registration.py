"""How detectron2 finds the models: YAML and LazyConfig, with and without importing the package."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from tests.commands import REPOSITORY, run

pytest.importorskip("detectron2")

from detectron2 import model_zoo
from detectron2.config import LazyConfig, get_cfg, instantiate
from detectron2.modeling import build_model

import detectron2_heads
from detectron2_heads import HaltedFocalRetinaNet, add_halted_focal_config
from tests.detectron2_heads.detectors import STOCK_YAML, assert_same_step, sample, training_losses

CONFIGS = sorted((Path(detectron2_heads.__file__).parent / "configs").glob("*.yaml"))
BUILD = (
    "from detectron2 import model_zoo; from detectron2.modeling import build_model; "
    f"cfg = model_zoo.get_config({STOCK_YAML!r}); cfg.MODEL.META_ARCHITECTURE = 'HaltedFocalRetinaNet'; "
    "cfg.MODEL.DEVICE = 'cpu'; model = build_model(cfg); print('BUILT', model.halt, model.halt_threshold)"
)


def build(cfg, seed=0):
    cfg.MODEL.DEVICE = "cpu"
    torch.manual_seed(seed)
    return build_model(cfg)


def test_without_the_import_detectron2_says_so():
    output = run("python", "-c", BUILD, check=False)
    assert re.search(r"No object named 'HaltedFocalRetinaNet' found in 'META_ARCH' registry", output)


@pytest.mark.parametrize(
    ("first", "environment"),
    [
        ("", {"DETECTRON2_ENV_MODULE": "detectron2_heads"}),
        ("import detectron2_heads; ", {}),
        pytest.param("import detectron2, el_plugins; ", {}, marks=pytest.mark.long),
    ],
)
def test_a_stock_config_finds_it(first, environment, tmp_path):
    output = run("python", "-c", first + BUILD, env={**environment, "PYTHONPATH": REPOSITORY}, cwd=tmp_path)
    assert "BUILT foreground 0.5" in output


def test_yaml_and_lazy_give_the_same_model(tmp_path):
    config = model_zoo.get_config("common/models/retinanet.py")
    config.model.update(_target_=HaltedFocalRetinaNet, halt="authors", halt_threshold=0.7)
    LazyConfig.save(config, str(tmp_path / "model.yaml"))
    config = LazyConfig.load(str(tmp_path / "model.yaml"))
    lazy = instantiate(config.model)
    cfg = model_zoo.get_config(STOCK_YAML)
    add_halted_focal_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = "HaltedFocalRetinaNet"
    cfg.MODEL.RETINANET.HALT = "authors"
    cfg.MODEL.RETINANET.HALT_THRESHOLD = 0.7
    model = build(cfg)
    # The stock YAML freezes the first stages by default, the stock LazyConfig does not.
    lazy.backbone.bottom_up.freeze(2)
    lazy.load_state_dict(model.state_dict(), strict=True)
    assert (lazy.halt, lazy.halt_threshold) == (model.halt, model.halt_threshold) == ("authors", 0.7)
    cfg.MODEL.RETINANET.SMOOTH_L1_LOSS_BETA = lazy.smooth_l1_beta
    assert_same_step(lazy, build_like(model, cfg), sample(2), rtol=1e-5, atol=1e-6)


def build_like(model, cfg):
    other = build(cfg)
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load_without_running_code(path):
    assert yaml.safe_load(path.read_text())
    cfg = get_cfg()
    add_halted_focal_config(cfg)
    cfg.merge_from_file(str(path), allow_unsafe=False)


def test_shipped_coco_configs_are_the_stock_model_in_the_authors_setting():
    stock = model_zoo.get_config(STOCK_YAML)
    for name, batch, rate in [("", 8, 0.005), ("_batch32", 32, 0.02)]:
        for kind, architecture in {"focal": "RetinaNet", "halted_focal": "HaltedFocalRetinaNet"}.items():
            cfg = get_cfg()
            add_halted_focal_config(cfg)
            path = CONFIGS[0].with_name(f"retinanet_R_50_FPN_1x_{kind}{name}.yaml")
            cfg.merge_from_file(str(path), allow_unsafe=False)
            assert architecture == cfg.MODEL.META_ARCHITECTURE
            assert cfg.MODEL.ANCHOR_GENERATOR == stock.MODEL.ANCHOR_GENERATOR
            assert cfg.INPUT == stock.INPUT
            assert (cfg.MODEL.RETINANET.FOCAL_LOSS_ALPHA, cfg.MODEL.RETINANET.FOCAL_LOSS_GAMMA) == (0.5, 1.0)
            solver = cfg.SOLVER
            assert (batch, rate, 90_000) == (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER)
            assert solver.STEPS == stock.SOLVER.STEPS


def test_first_loss_of_the_shipped_recipe_is_near_stock():
    cfg = get_cfg()
    add_halted_focal_config(cfg)
    cfg.merge_from_file(str(CONFIGS[0].with_name("retinanet_R_50_FPN_1x_halted_focal.yaml")))
    batch = sample(5, 5, size=400, classes=80)
    with torch.no_grad():
        ours = build(cfg)
        # Without the pre-trained backbone the features are wild; this leaves the prior of 0.01 alone.
        torch.nn.init.zeros_(ours.head.cls_score.weight)
        halted = training_losses(ours, batch)["loss_cls"].item()
        cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
        focal = training_losses(build_like(ours, cfg), batch)["loss_cls"].item()
    # 400 x 400 has 0.15 of the anchors of the 800 x 1344 for which it is about 16; objects add to it.
    assert 3.5 < focal < 12
    assert halted == pytest.approx(focal, rel=0.02)
