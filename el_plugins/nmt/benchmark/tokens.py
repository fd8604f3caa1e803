"""How a translation model stands to each target token: probability, margin and energy (Figures 5 and 6)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from el_plugins.metrics import energy, margin

MAX_TOKENS = 4000  # of a batch: a vocabulary-sized row of logits each


def target_tokens(checkpoint: Path, data: str, subset: str = "valid") -> dict[str, np.ndarray]:
    """Measures of every target token of ``subset`` under teacher forcing, end-of-sentence included.

    Args:
        checkpoint: a fairseq translation model's.
        data: the binarised corpus.

    Returns:
        ``log_p`` (natural logarithm of the target's probability), ``margin`` and ``energy`` of
        :mod:`el_plugins.metrics`, each (tokens,) float32, in the corpus' order of lengths.
    """
    from fairseq import checkpoint_utils, utils

    import fairseq_criterions  # noqa: F401  the checkpoint may name its criterion

    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": data}
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    task.load_dataset(subset)
    batches = task.get_batch_iterator(task.dataset(subset), max_tokens=MAX_TOKENS).next_epoch_itr(
        shuffle=False
    )
    found: dict[str, list[torch.Tensor]] = {"log_p": [], "margin": [], "energy": []}
    with torch.inference_mode():
        for batch in batches:
            batch = utils.move_to_cuda(batch) if device.type == "cuda" else batch
            logits, target = model(**batch["net_input"])[0].float(), batch["target"]
            kept = target != task.target_dictionary.pad()
            logits, target = logits[kept], target[kept]
            found["log_p"].append(-torch.nn.functional.cross_entropy(logits, target, reduction="none"))
            found["margin"].append(margin(logits, target))
            found["energy"].append(energy(logits, target))
    return {name: torch.cat(parts).cpu().numpy() for name, parts in found.items()}
