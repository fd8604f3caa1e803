"""A real model, task and batch for the criterion."""

import pytest


@pytest.fixture(scope="module")
def setting(trained):
    """(model without dropout, task, a batch with padding)."""
    checkpoint_utils = pytest.importorskip("fairseq.checkpoint_utils")
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(trained[0] / "checkpoint_last.pt")])
    task.load_dataset("valid")
    batches = task.get_batch_iterator(task.dataset("valid"), max_tokens=400).next_epoch_itr(shuffle=False)
    sample = next(iter(batches))
    assert sample["target"].eq(task.target_dictionary.pad()).any()
    # After a step in training mode fairseq 0.12.2 leaves its fused layers alone, which torch 2 broke.
    models[0].train()(**sample["net_input"])
    return models[0].eval(), task, sample
