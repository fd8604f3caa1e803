"""Train and evaluate any detectron2 model, those of this package among them, on COCO-style data.

detectron2's DefaultTrainer with COCO evaluation. KEY VALUE pairs at the end override the config. The
final figures go to OUTPUT_DIR/results.json, or the iteration at which the training diverged.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from detectron2.data import get_detection_dataset_dicts
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import (
    DefaultTrainer,
    create_ddp_model,
    default_argument_parser,
    default_setup,
    launch,
)
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm
from torch import nn

from detectron2_heads.config import add_encouraging_config, add_halted_focal_config
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import without_nan, write_json

logger = logging.getLogger("detectron2.el_plugins")


class LossNormalizer:
    """Carries ``model.loss_normalizer``, a plain float that no state dict has, through checkpoints.

    Every process of a distributed training resumes with the first one's.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = getattr(model, "module", model)

    def state_dict(self) -> dict[str, float]:
        """The running number of objects, if the model has one yet."""
        value = getattr(self.model, "loss_normalizer", None)
        return {} if value is None else {"value": value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a saved number."""
        if "value" in state:
            self.model.loss_normalizer = state["value"]


class Trainer(DefaultTrainer):
    """DefaultTrainer with COCO evaluation that carries the loss normalizer over a resume."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.checkpointer.add_checkpointable("loss_normalizer", LossNormalizer(self.model))

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> COCOEvaluator:
        """COCO's AP, detections kept in OUTPUT_DIR/inference."""
        return COCOEvaluator(dataset_name, output_dir=str(Path(cfg.OUTPUT_DIR, "inference")))

    def train(self) -> dict[str, Any]:
        """Train to the end; the figures of the last evaluation (on the main process)."""
        log_epochs(self.cfg)
        super().train()
        return self._last_eval_results


def log_epochs(cfg: CfgNode) -> None:
    """Log how often the schedule of ``cfg``, after scaling to the GPUs in use, shows every image."""
    if not comm.is_main_process():
        return
    images = len(
        get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
    )
    iterations, batch = cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH
    logger.info(
        f"{iterations} iterations of {batch} images at learning rate {cfg.SOLVER.BASE_LR:g}: "
        f"{iterations * batch / images:.2f} epochs of {images} images"
    )


def setup(arguments: argparse.Namespace) -> CfgNode:
    """Register the data sets and build the config; CPU when no GPU is there."""
    for name, json_file, images in arguments.dataset:
        for path in (json_file, images):
            if not Path(path).exists():
                raise FileNotFoundError(f"--dataset {name}: {path} does not exist")
        register_coco_instances(name, {}, json_file, images)
    cfg = get_cfg()
    add_halted_focal_config(cfg)
    add_encouraging_config(cfg)
    cfg.merge_from_file(arguments.config_file)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    cfg.merge_from_list(arguments.opts)
    cfg.freeze()
    default_setup(cfg, arguments)
    return cfg


def main(arguments: argparse.Namespace, trainer_class: type[Trainer] = Trainer) -> dict[str, Any]:
    """One process' work: train, or evaluate alone; the figures by task (on the main process)."""
    cfg = setup(arguments)
    if arguments.eval_only:
        model = create_ddp_model(trainer_class.build_model(cfg), broadcast_buffers=False)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(
            cfg.MODEL.WEIGHTS, resume=arguments.resume
        )
        results = trainer_class.test(cfg, model)
    else:
        trainer = trainer_class(cfg)
        trainer.resume_or_load(resume=arguments.resume)
        try:
            results = trainer.train()
        except FloatingPointError as error:  # detectron2's word for a loss that is not finite
            path = Path(cfg.OUTPUT_DIR, "results.json")
            write_json(path, {DIVERGED: trainer.iter + 1})
            raise SystemExit(f"train_net: diverged at iteration {trainer.iter + 1}, see {path}") from error
    # COCO has no AP of what is not there, NaN: nothing detected, or no object of a size.
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


def run(trainer_class: type[Trainer] = Trainer) -> None:
    """Entry point: read the command line and start a process for each GPU."""
    options = argument_parser().parse_args()
    gpus = torch.cuda.device_count()
    if options.num_gpus > max(gpus, 1):
        raise SystemExit(f"train_net: --num-gpus must be at most the {gpus} found, got {options.num_gpus}")
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
