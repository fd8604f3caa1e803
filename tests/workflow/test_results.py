"""Tables, spreads and settings."""

import pytest

from el_plugins.workflow.results import check_settings, spread, table, with_spread


def test_table_reads_as_text():
    text = table(
        {"bleu": "{:.1f}", "p": "{:.3f}"}, {"ce": {"bleu": 30.25, "p": None}, "el": {"bleu": 9, "p": 0.5}}
    )
    assert text.splitlines() == [
        "| system | bleu |     p |",
        "|-------:|-----:|------:|",
        "|     ce | 30.2 |     - |",
        "|     el |  9.0 | 0.500 |",
    ]


def test_spread():
    assert spread([34.0, 35.0]) == pytest.approx((34.5, 0.5**0.5))
    assert with_spread(*spread([34.0, 35.0])) == "34.50 ± 0.71"
    assert with_spread(*spread([34.0]), digits=1) == "34.0"
    # COCO's AP of a size of which the set has no object.
    assert with_spread(*spread([float("nan"), 1.0])) == "nan ± nan"


def test_other_settings_are_refused(tmp_path):
    folder = tmp_path / "results"
    check_settings({"seed": 1, "lr": 0.1}, folder)
    check_settings({"seed": 1, "lr": 0.1}, folder)
    with pytest.raises(ValueError, match=r"other settings \(lr\): take another folder"):
        check_settings({"seed": 1, "lr": 0.2}, folder)
