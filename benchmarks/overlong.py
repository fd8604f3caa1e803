"""How much of a difference in BLEU is from over-long translations: those that run on, or repeat themselves.

    python -m benchmarks.overlong SETTINGS --output OUTPUT

A few such sentences weigh much in BLEU. This counts those of the averaged checkpoints that have more than
twice the words of their reference and five, and compares the test sets as one once more without them: a
sentence is left out for all systems of a seed if it is one for any.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from el_plugins.nmt.benchmark.results import Results, read_runs
from el_plugins.nmt.benchmark.runs import all_runs
from el_plugins.nmt.benchmark.sentences import bleu_of
from el_plugins.nmt.benchmark.settings import read_settings
from el_plugins.nmt.benchmark.statistics import compare
from el_plugins.nmt.benchmark.wording import interval, label
from el_plugins.utils.program import program
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std

Scores = dict[str, dict[int, float]]  # by system and seed


def overlong(translations: Sequence[str], references: Sequence[str]) -> set[int]:
    """Numbers of the translations that are too long."""
    pairs = enumerate(zip(translations, references))
    return {n for n, (text, reference) in pairs if len(text.split()) > 2 * len(reference.split()) + 5}


def without_overlong(results: Results) -> tuple[Scores, dict[str, int]]:
    """BLEU of the sentences that are left, and how many translations of a system are over-long."""
    subset = list(results.references)[-1]  # the pooled one, if there are several
    references = results.references[subset]
    scores: Scores = {name: {} for name in results.systems}
    counts = dict.fromkeys(results.systems, 0)
    for seed in results.benchmark.seeds:
        places = {name: (name, seed, "averaged", subset) for name in results.systems}
        texts = {
            name: results.translations[place]
            for name, place in places.items()
            if place in results.translations
        }
        long = {name: overlong(text, references) for name, text in texts.items()}
        left = sorted(set(range(len(references))).difference(*long.values()))
        for name, text in texts.items():
            counts[name] += len(long[name])
            scores[name][seed] = bleu_of(left, text, references)
    return scores, counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlong",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("settings", type=Path, help="the benchmark's YAML file")
    parser.add_argument("--output", type=Path, help="the benchmark's folder, instead of the file's")
    options = parser.parse_args(arguments)
    with program("overlong", "stopped"):
        benchmark = read_settings(options.settings, output=options.output)
        results = read_runs(benchmark, all_runs(benchmark, Path(str(benchmark.output)).resolve()), {})
        scores, counts = without_overlong(results)
        baseline = results.systems[0]
        for name, by_seed in scores.items():
            if results.diverged[name]:
                print(label(results, name))
            if results.diverged[name] or not by_seed:
                continue  # the other seeds would be a biased sample
            bleu = format_mean_std(*mean_std(list(by_seed.values())))
            line = f"{name}: {counts[name]} over-long translations; BLEU without them {bleu}"
            test = compare(by_seed, scores[baseline], bool(results.diverged[baseline]))
            if test["p_value"] is not None:
                line += f", {test['difference']:+.2f} ({interval(test)}, p = {test['p_value']:.2g})"
            print(line)


if __name__ == "__main__":
    main()
