"""The table of what was tried, from a real run of pytest."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from benchmarks.trust import KINDS, counts, report
from tests.commands import REPOSITORY

TESTS = """\
import pytest
def test_passes(record_property): record_property("tried", 20)
def test_fails(record_property): record_property("tried", 5); record_property("growth", "2 %"); assert False
def test_one(): pass
def test_skipped(): pytest.skip("not here")
"""


def test_tries_are_counted(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    results = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "test_it.py", "--junitxml", str(results)]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    figures = counts(ElementTree.parse(results).getroot())
    assert (figures["tried"], figures["withstood"], figures["skipped"]) == (26, 21, 1)
    assert figures["notes"] == ["growth 2 %", "failed: test_fails"]
    page = report({"faults": {"tests/test_it.py": {**figures, "date": "today"}}})
    assert "| faults | test_it.py |    26 |        21 |       1 |" in page
    assert "- test_it.py: growth 2 %\n- test_it.py: failed: test_fails\n" in page


def test_every_file_exists():
    for files in KINDS.values():
        for path, _ in files:
            assert (REPOSITORY / path).is_file()
