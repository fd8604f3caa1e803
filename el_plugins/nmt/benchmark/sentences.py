"""Where translations differ: BLEU by length of the reference, and the sentences that changed most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics import CHRF

from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.sections import Section
from el_plugins.nmt.scoring import metrics
from el_plugins.utils.statistics import mean_std

LENGTHS = (5, 10, 20, 40)  # words of the reference: upper ends of all buckets but the last


def buckets(references: Sequence[str]) -> dict[str, list[int]]:
    """Sentence numbers by length of their reference in words: "1-5", ..., "41+", without empty buckets."""
    starts = [1, *(end + 1 for end in LENGTHS)]
    names = [f"{start}-{end}" for start, end in zip(starts, LENGTHS)] + [f"{starts[-1]}+"]
    numbers_of: dict[str, list[int]] = {name: [] for name in names}
    for number, reference in enumerate(references):
        length = len(reference.split())
        numbers_of[names[sum(length > end for end in LENGTHS)]].append(number)
    return {name: numbers for name, numbers in numbers_of.items() if numbers}


def bleu_by_length(
    hypotheses: Sequence[str], references: Sequence[str], language: str = "en"
) -> dict[str, float]:
    """Corpus BLEU of the sentences of each bucket."""
    return {
        name: bleu_of(numbers, hypotheses, references, language)
        for name, numbers in buckets(references).items()
    }


def bleu_of(
    numbers: Sequence[int], hypotheses: Sequence[str], references: Sequence[str], language: str = "en"
) -> float:
    """Corpus BLEU of the sentences with these numbers."""
    bleu = metrics(language)["bleu"]
    return bleu.corpus_score([hypotheses[n] for n in numbers], [[references[n] for n in numbers]]).score


def most_changed(
    sources: Sequence[str],
    references: Sequence[str],
    baseline: Sequence[str],
    system: Sequence[str],
    count: int = 10,
) -> dict[str, list[dict[str, Any]]]:
    """The sentences whose chrF++ changed most against the baseline.

    Returns:
        ``rising`` and ``falling``, at most ``count`` each, the largest change first, with ``source``,
        ``reference``, ``baseline``, ``system`` and ``change`` in points of chrF++.
    """
    chrf = CHRF(word_order=2)
    sentences = [
        {
            "source": sources[n],
            "reference": references[n],
            "baseline": baseline[n],
            "system": system[n],
            "change": chrf.sentence_score(system[n], [references[n]]).score
            - chrf.sentence_score(baseline[n], [references[n]]).score,
        }
        for n in range(len(references))
        if system[n] != baseline[n]
    ]
    ordered = sorted(sentences, key=lambda one: one["change"])
    return {
        "rising": [one for one in reversed(ordered) if one["change"] > 0][:count],
        "falling": [one for one in ordered if one["change"] < 0][:count],
    }


def lengths(results: Results, section: Section) -> dict[str, dict[str, float]]:
    """Mean BLEU over seeds by length of the reference, by system, without systems that diverged."""
    by_system: dict[str, dict[str, float]] = {}
    place = section.checkpoint, section.subset
    for name, figures in section.systems.items():
        texts = [results.translations.get((name, seed, *place)) for seed in figures["seeds"]]
        language = results.benchmark.data.target
        each = [
            bleu_by_length(text, results.references[place[1]], language) for text in texts if text is not None
        ]
        if each and len(each) == len(texts):
            by_system[name] = {bucket: mean_std([one[bucket] for one in each])[0] for bucket in each[0]}
    return by_system


def changed(results: Results, section: Section) -> dict[str, dict[str, Any]]:
    """:func:`most_changed` of the first seed that a system shares with the baseline, by system."""
    place = section.checkpoint, section.subset
    examples = {}
    for name in section.names[1:]:
        for seed in results.benchmark.seeds:
            first, other = (
                results.translations.get((system, seed, *place)) for system in (section.baseline, name)
            )
            if first is not None and other is not None:
                pair = results.sources[place[1]], results.references[place[1]]
                examples[name] = {"seed": seed, **most_changed(*pair, first, other)}
                break
    return examples
