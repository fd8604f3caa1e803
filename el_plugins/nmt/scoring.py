"""Scores of translations and paired tests between systems, all by sacrebleu."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest
from sacremoses import MosesDetokenizer

from el_plugins.nmt.parallel import read_raw_lines
from el_plugins.nmt.recipe import DETOKENIZERS

GENERATED = re.compile(r"([STH])-(\d+)\t")
# BLEU of the tokens, which the paper and fairseq-score report; the other scores compare plain text.
TOKENISED = "bleu_tokenised"
# Titles in tables by name in results.
TITLES = {TOKENISED: "tokenised BLEU", "bleu": "BLEU", "chrf": "chrF++", "ter": "TER"}


def metrics(language: str = "en") -> dict[str, BLEU | CHRF | TER]:
    """The metrics of plain text in ``language``, by name in results: BLEU, chrF++ and TER.

    Chinese, Japanese and Korean (``zh``, ``zh_CN``, ...) are split by sacrebleu's own tokenisers.

    Raises:
        RuntimeError: the one for Japanese or Korean is not installed; the message says what to install.
    """
    own = without_blanks(language)
    ter = TER(normalized=True, asian_support=True) if own in ("zh", "ja") else TER()
    return {"bleu": BLEU(trg_lang=own or ""), "chrf": CHRF(word_order=2), "ter": ter}


def without_blanks(language: str) -> str | None:
    """The code of ``language`` if sacrebleu has a tokeniser for it, which blanks do not split."""
    code = re.split("[-_]", language.lower())[0]
    return code if code in ("zh", "ja", "ko") else None


def split_by(language: str) -> list[str]:
    """What cached scores depend on beside the text: the language, where it decides the tokeniser."""
    return [own] if (own := without_blanks(language)) else []


class Translations(NamedTuple):
    """The output of ``fairseq-generate``: tokenised sentences with subwords joined, in the corpus' order."""

    sources: list[str]
    hypotheses: list[str]
    references: list[str]


def read_generated(path: Path) -> Translations:
    """:func:`parse_generated` of a file."""
    return parse_generated(read_raw_lines(path), path)


def parse_generated(lines: Sequence[str], path: Path) -> Translations:
    """The sentences of ``fairseq-generate``'s output (made without ``--tokenizer``) in the file ``path``.

    Raises:
        ValueError: sources, best hypotheses and references are not those of sentences 0 to N - 1, each once.
    """
    lines_of: dict[str, dict[int, str]] = {"S": {}, "H": {}, "T": {}}
    for line in lines:
        if match := GENERATED.match(line):
            # The first of an n-best list is the best.
            lines_of[match[1]].setdefault(int(match[2]), line.split("\t")[-1])
    count = len(lines_of["H"])
    for kind, sentences in lines_of.items():
        if not count or sorted(sentences) != list(range(count)):
            raise ValueError(
                f"{path} is not a complete output of fairseq-generate: {len(sentences)} lines of {kind}-, "
                f"{count} of H-, expected one of each for sentences 0 to N - 1; without "
                "--required-batch-size-multiple 1 it leaves sentences out"
            )
    return Translations(*([lines_of[kind][number] for number in range(count)] for kind in "SHT"))


def detokenise(lines: Sequence[str], detokenizer: str | None, language: str) -> list[str]:
    """Plain text of tokenised ``lines``; unchanged if ``detokenizer`` is None.

    Raises:
        ValueError: an unknown detokenizer.
    """
    if detokenizer is None:
        return list(lines)
    if detokenizer not in DETOKENIZERS:
        raise ValueError(f"the detokenizer must be one of {', '.join(DETOKENIZERS)}, got {detokenizer!r}")
    moses = MosesDetokenizer(lang=language)
    return [moses.detokenize(line.split()) for line in lines]


def score_tokenised(
    hypotheses: Sequence[str], references: Sequence[str], language: str = "en"
) -> dict[str, dict[str, Any]]:
    """``{"bleu_tokenised": score}`` of tokens split at blanks, as in ``fairseq-score``.

    In a ``language`` that blanks do not split, of sacrebleu's own tokens.
    """
    own = without_blanks(language)
    metric = BLEU(trg_lang=own, force=True) if own else BLEU(tokenize="none", force=True)
    return {TOKENISED: _score(metric, hypotheses, references)}


def score_text(
    hypotheses: Sequence[str], references: Sequence[str], language: str = "en"
) -> dict[str, dict[str, Any]]:
    """BLEU, chrF++ and TER of plain text in ``language`` against one reference per sentence.

    Returns:
        By metric ``score`` (0 to 100; TER, where lower is better, can exceed it) and ``signature``; for BLEU
        also ``brevity_penalty``, ``length_ratio`` and the four n-gram ``precisions``.

    Raises:
        ValueError: the numbers of hypotheses and references differ.
    """
    return {name: _score(metric, hypotheses, references) for name, metric in metrics(language).items()}


def _score(metric: BLEU | CHRF | TER, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} translations, but {len(references)} references")
    result = metric.corpus_score(list(hypotheses), [list(references)])
    figures = {"score": result.score, "signature": metric.get_signature().format()}
    if isinstance(metric, BLEU):
        figures.update(brevity_penalty=result.bp, length_ratio=result.ratio, precisions=result.precisions)
    return figures


def paired_test(
    systems: Mapping[str, Sequence[str]], references: Sequence[str], test: str, language: str = "en"
) -> dict[str, dict[str, float]]:
    """sacrebleu's paired test of every system against the first, over test sentences.

    Args:
        systems: plain-text translations by system; the first is the baseline.
        test: ``"bs"``, paired bootstrap with 1,000 resamples, or ``"ar"``, approximate randomisation with
            10,000 trials; seeded by ``SACREBLEU_SEED``, 12345 unless set.
        language: of the translations.

    Returns:
        Two-sided p-values by metric, for each system but the baseline. sacrebleu's bootstrap counts resamples
        beyond one end only, so that one in ten equal systems would pass at 5 %: its p-value is doubled.
    """
    paired = PairedTest(
        [(name, list(lines)) for name, lines in systems.items()],
        metrics(language),
        [list(references)],
        test_type=test,
        n_samples={"bs": 1000, "ar": 10000}[test],
    )
    _, scores = paired()
    sides = {"bs": 2, "ar": 1}[test]
    # The first column has the systems' names; sacrebleu names the others differently.
    columns = dict(zip(metrics(), list(scores.values())[1:]))
    return {
        name: {
            # For equal scores no resample differs more, which sacrebleu would call significant.
            metric: (1.0 if column[row].score == column[0].score else min(1.0, sides * column[row].p_value))
            for metric, column in columns.items()
        }
        for row, name in enumerate(list(systems)[1:], start=1)
    }
