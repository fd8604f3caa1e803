"""One training step of one of several processes, on its own image; the first saves the gradients."""

import sys

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

from tests.detectron2_heads.detectors import gradients, retinanet, sample, training_losses

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
model = DistributedDataParallel(retinanet())
own = gradients(model.module, training_losses(model, [sample(3, 1)[rank]]))
if rank == 0:
    torch.save(own, sys.argv[1])
torch.distributed.destroy_process_group()
