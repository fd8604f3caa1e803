"""Score translations against their references: ``el-score``.

FILE is the output of fairseq-generate (without --tokenizer), or text with one translation per line. For the
former, tokenised BLEU is always reported. BLEU, chrF++ and TER compare plain text and need --reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from el_plugins.nmt.parallel import read_raw_lines
from el_plugins.nmt.recipe import DETOKENIZERS
from el_plugins.utils.files import write_json
from el_plugins.utils.program import program
from el_plugins.utils.tables import table

COLUMNS = {"score": "{:.2f}", "length_ratio": "{:.3f}", "signature": "{}"}


def score_file(
    file: Path, reference: Path | None = None, detokenizer: str | None = None, language: str = "en"
) -> dict[str, dict[str, Any]]:
    """The scores of ``file``, by metric: see :func:`score_tokenised` and :func:`score_text`.

    Args:
        file: fairseq-generate's output, or plain or tokenised text.
        reference: plain text, one sentence per line; required unless ``file`` is fairseq-generate's output.
        detokenizer: applied to the translations before they are compared with ``reference``.
        language: of the translations.

    Raises:
        ValueError: a file is empty or not UTF-8, there is no reference, or it has another number of lines.
    """
    from el_plugins.nmt import scoring  # needs the extra nmt

    lines = read_raw_lines(file)
    if not lines:
        raise ValueError(f"{file} is empty")
    if any(map(scoring.GENERATED.match, lines)):
        translations = scoring.parse_generated(lines, file)
        hypotheses = translations.hypotheses
        scores = scoring.score_tokenised(hypotheses, translations.references, language)
    elif reference is None:
        raise ValueError(f"{file} is not the output of fairseq-generate, so it needs --reference")
    else:
        hypotheses, scores = lines, {}
    if reference is not None:
        text = scoring.detokenise(hypotheses, detokenizer, language)
        scores.update(scoring.score_text(text, read_raw_lines(reference), language))
    return scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-score``."""
    parser = argparse.ArgumentParser(prog="el-score", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the translations")
    parser.add_argument("--reference", type=Path, help="plain text of the references, one per line")
    parser.add_argument(
        "--detokenizer", choices=DETOKENIZERS, help="tokenizer to undo before comparing with --reference"
    )
    parser.add_argument("--language", default="en", help="of the translations (default: %(default)s)")
    parser.add_argument(
        "--json", type=Path, help="also write the scores to this file; its folder is made if missing"
    )
    options = parser.parse_args(arguments)
    with program("el-score", extra="nmt"):
        scores = score_file(options.file, options.reference, options.detokenizer, options.language)
        print(table(COLUMNS, {name: {"length_ratio": None, **row} for name, row in scores.items()}, "metric"))
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            write_json(options.json, scores)


if __name__ == "__main__":
    main()
