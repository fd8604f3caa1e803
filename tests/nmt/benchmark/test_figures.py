"""Plots: nothing hidden, both colour schemes, and what is drawn of runs that diverged."""

import itertools
import re

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

from el_plugins.nmt.benchmark import colours
from el_plugins.nmt.benchmark.figures import curve, draw, line
from el_plugins.nmt.benchmark.forest import forest
from el_plugins.nmt.benchmark.sections import make_sections
from tests import made_up


def luminance(colour):
    """Of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out_from_the_paper_and_from_each_other(scheme):
    paper = luminance(colours.PAPER if scheme == "light" else colours.DARK[colours.PAPER])
    series = list(colours.SERIES) if scheme == "light" else list(colours.SERIES.values())
    for colour in series:
        low, high = sorted((paper, luminance(colour)))
        assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.1, 1.4.11
    for one, other in itertools.combinations(series, 2):
        assert sum((a - b) ** 2 for a, b in zip(to_rgb(one), to_rgb(other))) > 0.05


def test_equal_lines_all_show():
    styles = [line("abcd", name) for name in "abcd"]
    widths = [style["linewidth"] for style in styles]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == len({str(style["linestyle"]) for style in styles}) == 4


def test_every_colour_has_a_dark_one(tmp_path):
    results = made_up.results({"ce": (30.0, 31.0), "el": (31.0, 33.0)})
    sections = make_sections(results)
    plots = draw(results, sections, tmp_path / "figures")
    # No run logged well-classified tokens, so there is no empty plot of them.
    assert list(plots) == ["differences", "nll", "margins", "energies", "lengths"]
    for path in plots.values():
        text = path.read_text()
        drawn = set(re.findall(r"(?:fill|stroke): (#\w{6})", text.split("</style>", 1)[1]))
        assert drawn
        for colour in drawn:
            assert f'[style*="fill: {colour}"]{{fill:{colours.DARK[colour]} !important}}' in text
    assert plots["nll"].read_bytes() == draw(results, sections, tmp_path / "again")["nll"].read_bytes()


def test_a_curve_is_the_mean_over_seeds_where_all_have_been():
    results = made_up.results({"ce": (30.0, 31.0)})
    for seed, values in ((1, {10: 9, 20: 7, 30: 5}), (2, {15: 5, 25: 1})):
        results.runs[f"ce/seed{seed}"]["curve"] = {
            str(update): {"valid_nll_loss": str(value)} for update, value in values.items()
        }
    _, axes = plt.subplots()
    assert curve(axes, results, "valid_nll_loss", "nll")
    plt.close()
    (mean,) = axes.lines
    # Between validations a seed goes straight on: 8, 7, 6 and 5, 3, 1.
    assert list(mean.get_xdata()) == [15, 20, 25]
    assert list(mean.get_ydata()) == pytest.approx([6.5, 5, 3.5])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {y for x, y in corners if x == 20} == {3, 7}


def drawn_forest(results):
    """The forest plot's axes, and the texts in them."""
    _, axes = plt.subplots()
    assert forest(axes, make_sections(results))
    plt.close()
    return axes, [text.get_text() for text in axes.texts]


def test_forest():
    bleu = {"ce": (30.0, 31.0, 30.5), "el": (31.0, 32.5, 31.4), "far": (5.0, 6.0, 4.0)}
    axes, texts = drawn_forest(made_up.results(bleu))
    # Differences 1, 1.5, 0.9: mean 1.13; the 97.5 % quantile of t with two degrees of freedom is 4.30265.
    assert texts[:2] == ["test", "el: +1.13 (+0.33 to +1.93)"]
    rings = [one.get_xdata()[0] for one in axes.lines if one.get_marker() == "o"]
    assert rings == pytest.approx([1.0, 1.5, 0.9])
    # What is too far away is an arrow at the end of the axis.
    low, high = axes.get_xlim()
    assert 1.93 < high < 13
    assert [one.get_xdata()[0] for one in axes.lines if one.get_marker() == "<"] == [low] * 4
    assert "arrow: beyond the axis" in axes.get_xlabel()


def test_forest_of_a_diverged_run():
    bleu = {"ce": (30.0, 31.0, 30.5), "el": (31.0, None, 31.4)}
    axes, texts = drawn_forest(made_up.results(bleu, diverged=840))
    assert texts[1] == "el: no result, diverged at step 840 (seed 2)"
    assert [one.get_marker() for one in axes.lines if one.get_marker() in ("D", "o")] == ["o", "o"]


def test_no_forest_without_a_comparison():
    _, axes = plt.subplots()
    assert not forest(axes, make_sections(made_up.results({"ce": (30.0, 31.0)})))
    plt.close()
