"""Scores of translations: sacrebleu's BLEU and chrF, and its paired bootstrap between systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest


def read_hypotheses(path: Path, count: int) -> list[str]:
    """Detokenised translations from ``fairseq-generate``'s output, in the corpus' order.

    Raises:
        ValueError: the output does not hold exactly the sentences 0 to ``count`` - 1.
    """
    found = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("D-"):
                number, _, text = line.rstrip("\n").split("\t")
                found[int(number[2:])] = text
    if sorted(found) != list(range(count)):
        raise ValueError(f"{path} holds {len(found)} translations, expected sentences 0 to {count - 1}")
    return [found[number] for number in range(count)]


def compare(systems: Mapping[str, Sequence[str]], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score every system and test it against the first by paired bootstrap (1,000 resamples).

    Args:
        systems: detokenised translations by system; the first is the baseline.
        references: one for each sentence.

    Returns:
        By system, ``bleu`` and ``chrf`` (0 to 100), ``p_value`` (None for the baseline) of the BLEU
        difference, and the ``bleu_signature`` and ``chrf_signature`` that make them reproducible.
        The p-value covers the choice of test sentences, not of the training seed.
    """
    test = PairedTest(
        [(name, list(lines)) for name, lines in systems.items()],
        {"BLEU": BLEU(), "chrF2": CHRF()},
        [list(references)],
        test_type="bs",
    )
    signatures, scores = test()
    return {
        name: {
            "bleu": scores["BLEU"][row].score,
            "chrf": scores["chrF2"][row].score,
            "p_value": scores["BLEU"][row].p_value,
            "bleu_signature": signatures["BLEU"].format(),
            "chrf_signature": signatures["chrF2"].format(),
        }
        for row, name in enumerate(systems)
    }
