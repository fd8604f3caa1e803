"""The number of updates made, which fairseq's trainer tells its task and its model but not its criterion."""

import functools
from collections.abc import Callable

from fairseq.tasks import FairseqTask


def follow_updates(task: FairseqTask, tell: Callable[[int], None]) -> None:
    """Have ``task`` tell the number of updates made, before each step of a training and after each update.

    The trainer passes it to these two methods of every task, also when it resumes a training or wraps the
    model for several processes, and a criterion is built with its task.
    """
    train_step, optimizer_step = task.train_step, task.optimizer_step

    @functools.wraps(train_step)
    def told_train_step(sample, model, criterion, optimizer, update_num, *arguments, **options):
        tell(update_num)
        return train_step(sample, model, criterion, optimizer, update_num, *arguments, **options)

    @functools.wraps(optimizer_step)
    def told_optimizer_step(optimizer, model, update_num):
        optimizer_step(optimizer, model, update_num)
        tell(update_num + 1)

    task.train_step, task.optimizer_step = told_train_step, told_optimizer_step
