"""The forest plot: each system's difference to the baseline, per seed and as a mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from el_plugins.nmt.benchmark import colours, wording
from el_plugins.nmt.benchmark.sections import CHECKPOINTS, Section

ROW = 0.55  # inches
# The axis reaches at most so many times as far as the narrowest row; wider rows are cut.
MAX_RATIO = 6


def forest(axes: Any, sections: Sequence[Section]) -> bool:
    """Rows of the headline's kind of checkpoint: all test sets together, then each, with every system.

    The axis reaches as far as the widest row, unless the narrowest would become unreadable: values beyond the
    axis are arrows at its end. A system with a diverged run has no interval.
    """
    headline = sections[0]
    sections = [section for section in sections if section.checkpoint == headline.checkpoint]
    rows = [
        (section, name, section.systems[name]["bleu"])
        for section in sections
        for name in section.names[1:]
        if name in section.systems
    ]
    if not any(bleu["differences"] for _, _, bleu in rows):
        return False
    reaches = [_reach(bleu) for _, _, bleu in rows if bleu["differences"]]
    furthest = max(reaches) or 1
    limit = 1.08 * min(furthest, MAX_RATIO * min(filter(None, reaches), default=1))
    axes.figure.set_size_inches(axes.figure.get_figwidth(), ROW * len(rows) + 0.25 * len(sections) + 0.9)
    axes.axvline(0, color=colours.INK, linewidth=1)
    height, shown = -0.3, None
    for section, name, bleu in rows:
        if section is not shown:
            shown = section
            _write(axes, height, wording.subset(section), fontweight="bold")
            height -= 0.45
        _write(axes, height, f"{name}: {_figures(section, name, bleu)}")
        _row(axes, height - 0.35, bleu, limit, colours.series(section.names.index(name)))
        height -= 1.05
    axes.set(xlim=(-limit, limit), ylim=(height + 0.2, 0), yticks=[])
    axes.spines["left"].set_visible(False)
    place = f"BLEU minus {headline.baseline}'s, {CHECKPOINTS[headline.checkpoint]}"
    cut = "; arrow: beyond the axis" if limit < furthest else ""
    key = f"diamond, line: mean, 95 % interval; ring: a seed{cut}"
    axes.set_xlabel(f"{place}\n{key}", size=8)
    return True


def _reach(bleu: Mapping[str, Any]) -> float:
    """The largest absolute value in a row."""
    return max(abs(value) for value in (*bleu["differences"].values(), bleu["low"] or 0, bleu["high"] or 0))


def _write(axes: Any, height: float, text: str, **style: Any) -> None:
    """Write a line of text at the left end of the axis."""
    box = {"facecolor": colours.PAPER, "edgecolor": "none", "pad": 1}
    across = axes.get_yaxis_transform()
    axes.text(0, height, text, transform=across, va="center", fontsize=9, bbox=box, **style)


def _figures(section: Section, name: str, bleu: Mapping[str, Any]) -> str:
    if bleu["difference"] is None:
        steps = section.diverged[name]
        return wording.NO_RESULT + (f", {wording.diverged(steps)}" if steps else "")
    ends = "" if bleu["low"] is None else f" ({wording.interval(bleu)})"
    return f"{bleu['difference']:+.2f}{ends}"


def _row(axes: Any, height: float, bleu: Mapping[str, Any], limit: float, colour: str) -> None:
    """Interval and mean on one line and the seeds below it, so that nothing overlaps."""
    if bleu["low"] is not None:
        axes.hlines(height, max(-limit, bleu["low"]), min(limit, bleu["high"]), color=colour, linewidth=2)
    if bleu["difference"] is not None:
        _marker(axes, height, bleu["difference"], limit, colour, marker="D", markersize=6)
    for difference in bleu["differences"].values():
        _marker(axes, height - 0.2, difference, limit, colour, marker="o", markersize=5, fillstyle="none")


def _marker(axes: Any, height: float, value: float, limit: float, colour: str, **style: Any) -> None:
    if abs(value) > limit:
        value, style = (
            (limit if value > 0 else -limit),
            {"marker": ">" if value > 0 else "<", "markersize": 6},
        )
    axes.plot(value, height, color=colour, clip_on=False, **style)
