"""Tables, spreads, settings and JSON."""

import json

import pytest

pytest.importorskip("scipy")

from el_plugins.utils.files import check_settings, without_nan, write_json, write_json_lines
from el_plugins.utils.statistics import mean_std
from el_plugins.utils.tables import format_mean_std, table


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
    assert mean_std([34.0, 35.0]) == pytest.approx((34.5, 0.5**0.5))
    assert format_mean_std(*mean_std([34.0, 35.0])) == "34.50 ± 0.71"
    assert format_mean_std(*mean_std([34.0]), digits=1) == "34.0"
    # COCO's AP of a size of which the set has no object.
    assert format_mean_std(*mean_std([float("nan"), 1.0])) == "nan ± nan"


def test_other_settings_are_refused(tmp_path):
    folder = tmp_path / "results"
    check_settings({"seed": 1, "lr": 0.1}, folder)
    check_settings({"seed": 1, "lr": 0.1}, folder)
    with pytest.raises(ValueError, match=r"other settings \(lr\): take another folder"):
        check_settings({"seed": 1, "lr": 0.2}, folder)
    with pytest.raises(ValueError, match=r"other settings \(lr\)"):
        check_settings({"seed": 1}, folder)


def test_what_is_written_is_valid_json(tmp_path):
    values = {
        "AP": 1.5,
        "APl": float("nan"),
        "classes": [float("nan"), 2, "nan"],
        "pair": (1.0, float("nan")),
    }
    path = tmp_path / "results.json"
    for write in (write_json, lambda path, value: write_json_lines(path, [value])):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write(path, values)
        assert not path.exists()
    write_json(path, without_nan(values))
    assert json.loads(path.read_text()) == {
        "AP": 1.5,
        "APl": None,
        "classes": [None, 2, "nan"],
        "pair": [1.0, None],
    }
    write_json_lines(path, [{"a": 1}, {"a": 2}])
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'
