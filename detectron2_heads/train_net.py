"""Train and evaluate any detectron2 model, including those of this package, on COCO-style data.

detectron2's DefaultTrainer with COCO evaluation. KEY VALUE pairs at the end override the config. The
results go to OUTPUT_DIR/results.json, or the iteration at which the training diverged.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import (
    DefaultTrainer,
    create_ddp_model,
    default_argument_parser,
    default_setup,
    defaults,
    launch,
)
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm
from torch import nn

from detectron2_heads.config import add_encouraging_config, add_halted_focal_config, check_used, merge_options
from detectron2_heads.resuming import LossNormalizer, TrainingOrder
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import without_nan, write_json

logger = logging.getLogger("detectron2.el_plugins")


class Trainer(DefaultTrainer):
    """DefaultTrainer with COCO evaluation, whose resumed runs restore normalizer and images."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        check_classes(self.model, cfg.DATASETS.TRAIN)
        self.checkpointer.add_checkpointable("loss_normalizer", LossNormalizer(self.model))
        self.order = TrainingOrder(self.data_loader, self.cfg.SOLVER.IMS_PER_BATCH)
        self.checkpointer.add_checkpointable("training_order", self.order)

    def resume_or_load(self, resume: bool = True) -> None:
        """As DefaultTrainer's; the sampler also resumes."""
        super().resume_or_load(resume=resume)
        self.order.skip(self.start_iter)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> COCOEvaluator:
        """COCO's AP; the detections stay in OUTPUT_DIR/inference."""
        return COCOEvaluator(dataset_name, output_dir=str(Path(cfg.OUTPUT_DIR, "inference")))

    def train(self) -> dict[str, Any]:
        """Train to the end; the results of the last evaluation (on the main process)."""
        log_epochs(self.cfg, self.order.images)
        super().train()
        return self._last_eval_results


def check_classes(model: nn.Module, names: Sequence[str]) -> None:
    """Raise ValueError where a data set has more classes than ``model``, which would call them background."""
    model = getattr(model, "module", model)
    heads = model if hasattr(model, "num_classes") else getattr(model, "roi_heads", None)
    number = getattr(heads, "num_classes", None)
    for name in names:
        classes = MetadataCatalog.get(name).get("thing_classes", [])
        if number is not None and number < len(classes):
            raise ValueError(
                f"NUM_CLASSES of the model must be at least the {len(classes)} classes of {name}, "
                f"got {number}"
            )


def log_epochs(cfg: CfgNode, images: int) -> None:
    """Log how often the schedule of ``cfg``, scaled to the GPUs in use, shows each of ``images``."""
    iterations, batch = cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH
    logger.info(
        f"{iterations} iterations of {batch} images at learning rate {cfg.SOLVER.BASE_LR:g}: "
        f"{iterations * batch / images:.2f} epochs of {images} images"
    )


def build_config(config_file: str, options: Sequence[str]) -> CfgNode:
    """detectron2's defaults and our keys, then ``config_file``, then KEY VALUE pairs; CPU without a GPU.

    Raises:
        ValueError: ``config_file`` is no YAML file, a key of ours would be ignored (:func:`check_used`), or
            :func:`merge_options` raises it.
        KeyError: the config has no such key.
    """
    if config_file.endswith(".py"):
        raise ValueError(
            f"--config-file must be a YAML file, got {config_file}: train a LazyConfig by detectron2's own "
            "tools/lazyconfig_train_net.py"
        )
    cfg = get_cfg()
    add_halted_focal_config(cfg)
    add_encouraging_config(cfg)
    cfg.merge_from_file(config_file)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    merge_options(cfg, options)
    check_used(cfg)
    return cfg


def setup(arguments: argparse.Namespace) -> CfgNode:
    """Register the data sets and build the config."""
    for name, json_file, images in arguments.dataset:
        for path in (json_file, images):
            if not Path(path).exists():
                raise FileNotFoundError(f"--dataset {name}: {path} does not exist")
        register_coco_instances(name, {}, json_file, images)
    cfg = build_config(arguments.config_file, arguments.opts)
    cfg.freeze()
    default_setup(cfg, arguments)
    if cfg.MODEL.DEVICE == "cpu":
        # detectron2 names a GPU for every process, which a model on the CPU refuses.
        defaults.create_ddp_model = partial(create_ddp_model, device_ids=None)
    return cfg


def main(arguments: argparse.Namespace, trainer_class: type[Trainer] = Trainer) -> dict[str, Any]:
    """One process of a training or an evaluation; the results by task (on the main process)."""
    cfg = setup(arguments)
    if arguments.eval_only:
        model = defaults.create_ddp_model(trainer_class.build_model(cfg), broadcast_buffers=False)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(
            cfg.MODEL.WEIGHTS, resume=arguments.resume
        )
        results = trainer_class.test(cfg, model)
    else:
        trainer = trainer_class(cfg)
        trainer.resume_or_load(resume=arguments.resume)
        try:
            results = trainer.train()
        except FloatingPointError as error:  # detectron2's error for a loss that is not finite
            path = Path(cfg.OUTPUT_DIR, "results.json")
            write_json(path, {DIVERGED: trainer.iter + 1})
            raise SystemExit(f"train_net: diverged at iteration {trainer.iter + 1}, see {path}") from error
    # AP is NaN where nothing was detected, or no object of a size exists.
    results = without_nan(results)
    if comm.is_main_process():
        write_json(Path(cfg.OUTPUT_DIR, "results.json"), results)
    return results


def argument_parser() -> argparse.ArgumentParser:
    """detectron2's own options and ``--dataset``."""
    parser = default_argument_parser()
    parser.prog = "python -m detectron2_heads.train_net"
    parser.description = __doc__
    parser.epilog = (
        "Data sets of detectron2's own names (coco_2017_train, ...) are looked for in the folder that the "
        "environment variable DETECTRON2_DATASETS names. Any other COCO JSON: --dataset mine_train "
        "annotations.json images/ ... DATASETS.TRAIN \"('mine_train',)\""
    )
    parser.add_argument(
        "--dataset",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "ANNOTATIONS", "IMAGES"),
        help="register a COCO JSON and its folder of images under a name; may be given again",
    )
    return parser


def check_processes(options: argparse.Namespace) -> None:
    """Raise SystemExit for impossible numbers of GPUs or machines."""
    gpus = torch.cuda.device_count()
    if options.num_gpus > max(gpus, 1):
        raise SystemExit(f"train_net: --num-gpus must be at most the {gpus} found, got {options.num_gpus}")
    for name in ("num_gpus", "num_machines"):
        if (number := getattr(options, name)) < 1:
            raise SystemExit(f"train_net: --{name.replace('_', '-')} must be 1 or more, got {number}")
    if not 0 <= options.machine_rank < options.num_machines:
        allowed = f"0 to {options.num_machines - 1}"
        raise SystemExit(f"train_net: --machine-rank must be {allowed}, got {options.machine_rank}")


def run(trainer_class: type[Trainer] = Trainer) -> None:
    """Entry point: read the command line and start a process for each GPU."""
    options = argument_parser().parse_args()
    check_processes(options)
    launch(
        main,
        options.num_gpus,
        num_machines=options.num_machines,
        machine_rank=options.machine_rank,
        dist_url=options.dist_url,
        args=(options, trainer_class),
    )


if __name__ == "__main__":
    run()
