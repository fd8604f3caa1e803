"""Measures of each target token under a translation model: probability, margin, energy (Figures 5 and 6)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from el_plugins.metrics import energy, margin

MAX_TOKENS = 4000  # per batch; each needs a row of logits as wide as the vocabulary


def target_tokens(checkpoint: Path, data: str, subset: str = "valid") -> dict[str, np.ndarray]:
    """Measures of every target token of ``subset`` under teacher forcing, end-of-sentence included.

    Args:
        checkpoint: of a fairseq translation model.
        data: the binarised corpus.

    Returns:
        ``log_p`` (natural logarithm of the target's probability), ``margin`` and ``energy`` of
        :mod:`el_plugins.metrics`, each (tokens,) float32, in fairseq's order of sentences.
    """
    from fairseq import checkpoint_utils, utils

    import fairseq_criterions  # noqa: F401  registers the criterion that the checkpoint may name

    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": data}
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    for module in model.modules():
        if hasattr(module, "load_to_BT"):
            module.load_to_BT = False  # a shortcut that fails on padded batches with torch 2
    task.load_dataset(subset)
    batches = task.get_batch_iterator(task.dataset(subset), max_tokens=MAX_TOKENS).next_epoch_itr(
        shuffle=False
    )
    measures: dict[str, list[torch.Tensor]] = {"log_p": [], "margin": [], "energy": []}
    with torch.inference_mode():
        for batch in batches:
            batch = utils.move_to_cuda(batch) if device.type == "cuda" else batch
            logits, target = model(**batch["net_input"])[0].float(), batch["target"]
            valid = target != task.target_dictionary.pad()
            logits, target = logits[valid], target[valid]
            measures["log_p"].append(-torch.nn.functional.cross_entropy(logits, target, reduction="none"))
            measures["margin"].append(margin(logits, target))
            measures["energy"].append(energy(logits, target))
    return {name: torch.cat(parts).cpu().numpy() for name, parts in measures.items()}
