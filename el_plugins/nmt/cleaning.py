"""The steps from text to tokens, before subwords are learned."""

from __future__ import annotations

from sacremoses import MosesTokenizer
from tqdm import tqdm

from el_plugins.nmt.parallel import Splits
from el_plugins.nmt.recipe import Recipe


def tokenise(splits: Splits, *, escape: bool) -> Splits:
    """Tokenise by Moses' rules of each language."""
    tokenizers = {language: MosesTokenizer(lang=language) for text in splits.values() for language in text}
    return {
        part: {
            language: [
                tokenizers[language].tokenize(line, return_str=True, escape=escape)
                for line in tqdm(lines, desc=f"tokenising {part}.{language}", unit="sentence", disable=None)
            ]
            for language, lines in text.items()
        }
        for part, text in splits.items()
    }


def fitting(text: dict[str, list[str]], recipe: Recipe) -> dict[str, list[str]]:
    """The pairs within the recipe's length limits; prints how many others are dropped.

    Raises:
        ValueError: none remains.
    """
    pairs = list(zip(*text.values()))
    chosen = [pair for pair in pairs if recipe.fits(*pair)]
    if not chosen:
        raise ValueError(
            f"none of {len(pairs)} training pairs has 1 to {recipe.max_length} tokens on both sides and a "
            f"ratio of lengths up to {recipe.max_ratio or 'any'}"
        )
    if len(chosen) < len(pairs):
        print(f"{len(pairs) - len(chosen)} of {len(pairs)} training pairs dropped for their lengths")
    return {language: list(side) for language, side in zip(text, zip(*chosen))}


def hold_out(text: dict[str, list[str]], every: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Split off every ``every``-th pair: (remaining pairs, held-out pairs).

    Raises:
        ValueError: there are too few to hold any out.
    """
    held_out = {language: lines[every - 1 :: every] for language, lines in text.items()}
    if not all(held_out.values()):
        raise ValueError(f"too few sentences within the length limits to hold out one of {every}")
    remaining = {lang: [x for n, x in enumerate(lines, start=1) if n % every] for lang, lines in text.items()}
    return remaining, held_out


def lower(splits: Splits) -> Splits:
    """Lower-case all text."""
    return {
        part: {language: [line.lower() for line in lines] for language, lines in text.items()}
        for part, text in splits.items()
    }
