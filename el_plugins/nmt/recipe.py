"""The preprocessing of a parallel text before fairseq-preprocess."""

from __future__ import annotations

import math
from dataclasses import dataclass

SUBWORDS = ("bpe", "sentencepiece")
DETOKENIZERS = ("moses",)  # of what was tokenised, for its scores


@dataclass(frozen=True)
class Recipe:
    """The steps of preprocessing, in this order.

    Args:
        moses: tokenise by Moses' rules of each language; otherwise split at blanks.
        escape: escape &, <, >, |, quotes and brackets as entities, as Moses' own script does.
        max_length: of the longer side of a training pair, in tokens (with SentencePiece, in pieces).
        max_ratio: of the lengths of a training pair's sides; None for any.
        valid_every: n holds out every n-th training pair as ``valid``, for text without a validation part.
        lowercase: tokens and plain references.
        subwords: ``"bpe"`` or ``"sentencepiece"``.
        size: number of BPE operations, or of SentencePiece's pieces.
        separate: learn subwords for each language separately.
        joined: one dictionary for both languages, required for sharing all embeddings.
    """

    source: str
    target: str
    moses: bool = True
    escape: bool = False
    max_length: int = 250
    max_ratio: float | None = 2.5
    valid_every: int | None = None
    lowercase: bool = False
    subwords: str = "bpe"
    size: int = 10_000
    separate: bool = False
    joined: bool = True

    def __post_init__(self) -> None:
        if self.subwords not in SUBWORDS:
            raise ValueError(f"subwords must be of {', '.join(SUBWORDS)}, got {self.subwords!r}")
        for what, number in (("max_length", self.max_length), ("size", self.size)):
            if number < 1:
                raise ValueError(f"{what} must be 1 or more, got {number}")
        if self.max_ratio is not None and not 1 <= self.max_ratio < math.inf:
            raise ValueError(f"max_ratio must be a number from 1 on, got {self.max_ratio:g}")
        if self.source == self.target:
            raise ValueError(f"source and target must be two languages, got {self.source} for both")
        if self.separate and self.joined:
            raise ValueError("separate subwords have no joined dictionary: joined must be False")

    def fits(self, source: str, target: str) -> bool:
        """Whether both sides of a tokenised training pair are non-empty and within the length limits."""
        short, long = sorted((len(source.split()), len(target.split())))
        in_ratio = self.max_ratio is None or long <= self.max_ratio * short
        return short >= 1 and long <= self.max_length and in_ratio
