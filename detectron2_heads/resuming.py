"""What a resumed training restores beside the weights: the order of the images, and the loss normalizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.utils import comm
from torch import nn
from torch.utils.data import Sampler


class ResumableSampler(Sampler):
    """One of detectron2's infinite training samplers, started after a number of batches.

    Args:
        sampler: gives this process's image indices, the same ones every time it is iterated.
        batch: images of a batch of this process.
        workers: processes of the data loader; several hand out their images in turns.
        entries: detectron2's entry of each image, where images are grouped by aspect ratio; else None.
    """

    def __init__(self, sampler: Sampler, batch: int, workers: int, entries: Any | None) -> None:
        self.sampler = sampler
        self.batch = batch
        self.workers = workers
        self.entries = entries
        self.skipped = 0  # batches

    def __iter__(self) -> Iterator[int]:
        if not self.skipped:
            yield from self.sampler
            return
        if self.entries is None:  # batches are consecutive
            yield from islice(self.sampler, self.skipped * self.batch, None)
            return
        # The grouping sees images in the order that the workers load them in.
        loaded = _transposed(self.sampler, self.workers, self.batch)
        waiting: tuple[list[int], list[int]] = ([], [])
        wide: dict[int, bool] = {}
        batches = 0
        for index in loaded:
            if index not in wide:
                entry = self.entries[index]
                wide[index] = entry["width"] > entry["height"]
            bucket = waiting[wide[index]]
            bucket.append(index)
            if len(bucket) == self.batch:
                bucket.clear()
                batches += 1
                if batches == self.skipped:
                    break
        # Images that were drawn but not yet in a batch come first, and fill the same buckets again.
        remaining = chain(*waiting, loaded)
        yield from _transposed(remaining, self.batch, self.workers)


def _transposed(stream: Iterable[int], rows: int, columns: int) -> Iterator[int]:
    """Every ``rows`` x ``columns`` block of an infinite stream, column by column.

    Each worker of the data loader loads a row of ``batch`` images; they come out one of each worker in turn.
    """
    iterator = iter(stream)
    if min(rows, columns) == 1:
        yield from iterator
        return
    while True:
        block = list(islice(iterator, rows * columns))
        yield from (block[row * columns + column] for column in range(columns) for row in range(rows))


class TrainingOrder:
    """Makes the sampler of a detectron2 training loader resumable; checkpoints hold its state.

    Args:
        loader: what ``build_detection_train_loader`` made.
        batch: images of a batch over all processes.
    """

    def __init__(self, loader: Any, batch: int) -> None:
        self.batch = self.saved_batch = batch
        grouped = isinstance(loader, AspectRatioGroupedDataset)
        images = loader.dataset if grouped else loader
        dataset, workers = images.dataset, max(1, images.num_workers)
        self.images = len(dataset.dataset)
        # The map-style data set's own list: it loads images, the list only knows their sizes.
        entries = dataset.dataset._dataset if grouped else None
        per_process = batch // comm.get_world_size()
        self.sampler = ResumableSampler(dataset.sampler, per_process, workers, entries)
        dataset.sampler = self.sampler

    def state_dict(self) -> dict[str, int]:
        """The shuffling's seed, and the batch that iterations are counted in."""
        return {"seed": self.sampler.sampler._seed, "batch": self.batch}  # type: ignore[attr-defined]

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Shuffle as in the run that saved ``state``."""
        self.sampler.sampler._seed = state["seed"]  # type: ignore[attr-defined]
        self.saved_batch = state["batch"]

    def skip(self, iterations: int) -> None:
        """Continue after ``iterations`` of the loaded run; before the loader is first iterated."""
        self.sampler.skipped = iterations * self.saved_batch // self.batch


class LossNormalizer:
    """Checkpoints ``model.loss_normalizer``, a plain float that is in no state dict.

    Every process of a distributed training resumes with the main one's.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = getattr(model, "module", model)

    def state_dict(self) -> dict[str, float]:
        """The running mean of objects a batch, if the model has one yet."""
        value = getattr(self.model, "loss_normalizer", None)
        return {} if value is None else {"value": value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore a saved value."""
        if "value" in state:
            self.model.loss_normalizer = state["value"]
