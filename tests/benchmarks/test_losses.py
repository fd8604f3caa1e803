"""The losses' benchmark and its report, on made-up figures."""

import csv
import sys

import pytest

pytest.importorskip("fairseq")
pytest.importorskip("fvcore")
pytest.importorskip("torchvision")
pytest.importorskip("matplotlib")

from benchmarks import losses, measure, report

SIZE = 2**21  # bytes of the logits
LINEAR = ["matmul + LS-CE", "linear EL"]
CASES = [
    ("rows", "8x4 float32 smoothing 0.1", SIZE, SIZE, dict.fromkeys(report.DRAWN)),
    ("linear", "8x4 D 2 float32 smoothing 0.1", SIZE, SIZE // 4, dict.fromkeys(LINEAR)),
]


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Run the benchmark on this many of the cases; the peers that were measured."""
    compared = []

    def compare(peers, repeats):
        compared.append((list(peers), repeats))
        return {
            name: {"seconds": 4e-3 * (n + 1), "fastest": 1e-3, "slowest": 0.1, "memory": SIZE * 3 * n / 2}
            for n, name in enumerate(peers)
        }

    def run(count):
        monkeypatch.setattr(losses, "cases", lambda: iter(CASES[:count]))
        monkeypatch.setattr(sys, "argv", ["benchmarks.losses", str(tmp_path), "--repeats", "2"])
        losses.main()
        return compared

    monkeypatch.setattr(measure, "compare", compare)
    return run


def test_a_case_is_measured_once(measured, tmp_path):
    path = tmp_path / "losses.csv"
    first = (list(report.DRAWN), 2)
    assert measured(1) == [first]
    before = path.read_text()
    assert measured(1) == [first]
    assert path.read_text() == before
    assert measured(2) == [first, (LINEAR, 2)]
    assert path.read_text().startswith(before)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["time ratio"] for row in rows] == ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "1.0", "2.0"]
    assert rows[-1] == {
        "kind": "linear",
        "case": "8x4 D 2 float32 smoothing 0.1",
        "peer": "linear EL",
        "milliseconds": "8.0",
        "fastest": "1.0",
        "slowest": "100.0",
        "time ratio": "2.0",
        "memory MiB": "3.0",
        "memory / logits": "1.5",
        "gradients / logits": "0.25",
        "machine": measure.machine(),
    }


def test_the_report_shows_what_was_measured(measured, tmp_path, monkeypatch):
    measured(2)
    (tmp_path / "training.csv").write_text("system,words/s\nEL,1234\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks.report", str(tmp_path)])
    report.main()
    text = (tmp_path / "speed.md").read_text()
    assert f"on {measure.machine()}" in text
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings[:2] == [report.TITLES["rows"], report.TITLES["linear"]]
    (training,) = headings[2:]
    assert training.startswith("Whole trainings")
    assert "smoothing 0.1 | linear EL | 8.0 | 1.0 | 100.0 | 2.0 | 3.0 | 1.5 | 0.25 |" in text
    assert "| EL | 1234 |" in text
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_reused_memory_has_no_peak(monkeypatch):
    row = {"kind": measure.REUSED, "case": "8x4", "time ratio": "0.5", "memory MiB": "3.0"}
    row["memory / logits"] = "1.5"
    assert report.markdown([row]).splitlines() == ["| case | time ratio |", "|---|---|", "| 8x4 | 0.5 |"]
    assert "| 3.0 | 1.5 |" in report.markdown([{**row, "kind": "rows"}])
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    assert {kind for kind, *_ in losses.cases()} == {measure.REUSED}
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    assert {kind for kind, *_ in losses.cases()} == {"rows", "linear", "focal"}
