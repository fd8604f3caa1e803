"""The demo's report: one table as text, Markdown and JSON, and the learning curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from el_plugins.workflow.results import table, write_json, write_text

COLUMNS = {
    "updates": "{:d}",
    "nll": "{:.3f}",
    "ppl": "{:.2f}",
    "well_classified": "{:.1%}",
    "bleu": "{:.2f}",
    "chrf": "{:.2f}",
    "p_value": "{:.3f}",
    "minutes": "{:.1f}",
    "words_per_second": "{:d}",
}
NOTES = """\
nll (bits a token), ppl and well_classified (share of target tokens with p > 1/2) are on the validation
part and mean the same for every system; BLEU and chrF are on the test part, beam 5, averaged checkpoint.
The p-value is a paired bootstrap over test sentences against the first system; it does not cover the
training seed, and one seed is no verdict. Minutes and words a second are of training steps.
"""


def write(
    rows: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[int, Mapping[str, Any]]],
    settings: Mapping[str, Any],
    folder: Path,
) -> str:
    """Write ``report.md``, ``results.json`` and ``curves.png`` into ``folder``.

    Args:
        rows: figures by system, those of :data:`COLUMNS` and the signatures.
        curves: validation figures by number of updates, by system.
        settings: what was run, kept in the JSON.

    Returns:
        The table and where the files are, to print.
    """
    first = next(iter(rows.values()))
    signatures = f"BLEU {first['bleu_signature']}\nchrF {first['chrf_signature']}\n"
    text = table(COLUMNS, rows)
    picture = f"![validation nll against updates]({draw(curves, folder).name})\n"
    write_text(
        folder / "report.md", f"# {settings['language']}-en\n\n{text}\n\n{NOTES}\n{signatures}\n{picture}"
    )
    results = {"settings": settings, "systems": rows, "curves": curves}
    write_json(folder / "results.json", results)
    return f"\n{text}\n\n{NOTES}\n{signatures}\nSaved: " + ", ".join(
        str(folder / name) for name in ("report.md", "results.json", "curves.png")
    )


def draw(curves: Mapping[str, Mapping[int, Mapping[str, Any]]], folder: Path) -> Path:
    """Plot validation nll against updates, a line a system, into ``curves.png``."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, points in curves.items():
        updates: Sequence[int] = sorted(points)
        axes.plot(updates, [float(points[u]["valid_nll_loss"]) for u in updates], marker="o", label=name)
    axes.set(xlabel="updates", ylabel="validation nll (bits a token)", title="Learning curves")
    axes.grid(alpha=0.3)
    axes.legend()
    path = folder / "curves.png"
    temporary = folder / "curves.tmp.png"
    figure.savefig(temporary, dpi=150)
    plt.close(figure)
    temporary.replace(path)
    return path
