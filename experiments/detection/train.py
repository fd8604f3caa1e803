"""train_net with AdamW in place of SGD: a small detector trains from scratch in far fewer steps."""

import torch
from detectron2.config import CfgNode
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from detectron2_heads.train_net import Trainer, run


class AdamWTrainer(Trainer):
    """:class:`Trainer` with AdamW; learning rate, weight decay and clipping are the config's."""

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """One group of all parameters."""
        optimizer = maybe_add_gradient_clipping(cfg, torch.optim.AdamW)
        return optimizer(model.parameters(), lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)


if __name__ == "__main__":
    run(AdamWTrainer)
