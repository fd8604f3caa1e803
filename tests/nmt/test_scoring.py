"""Scores against sacrebleu called directly, and the log readers on real lines."""

import json
import sys

import pytest

sacrebleu = pytest.importorskip("sacrebleu")

from el_plugins.nmt import report
from el_plugins.nmt.scoring import compare, read_hypotheses
from el_plugins.nmt.training_log import training_cost, training_line, validations
from el_plugins.workflow.commands import run

REFERENCES = [f"the {word} sat on the mat near the old {word}" for word in ("cat", "dog", "hen", "fox")] * 10
GOOD = [line.replace("near", "by") for line in REFERENCES]
BAD = [line.replace("sat on", "was at").replace("old", "new") for line in REFERENCES]


def test_compare_is_sacrebleu():
    scores = compare({"bad": BAD, "good": GOOD}, REFERENCES)
    for name, lines in (("bad", BAD), ("good", GOOD)):
        assert scores[name]["bleu"] == pytest.approx(sacrebleu.corpus_bleu(lines, [REFERENCES]).score)
        assert scores[name]["chrf"] == pytest.approx(sacrebleu.corpus_chrf(lines, [REFERENCES]).score)
    assert scores["bad"]["p_value"] is None
    assert scores["good"]["p_value"] < 0.05
    assert "bs:1000|seed:12345" in scores["good"]["bleu_signature"]


def test_hypotheses_in_the_order_of_the_corpus(tmp_path):
    path = tmp_path / "generate.txt"
    path.write_text("S-1\tx\nH-1\t-0.1\tb @@b\nD-1\t-0.1\tbb\nD-0\t-0.3\t\nGenerate test\n")
    assert read_hypotheses(path, 2) == ["", "bb"]
    with pytest.raises(ValueError, match="holds 2 translations, expected sentences 0 to 2"):
        read_hypotheses(path, 3)


def test_training_log(trained, tmp_path):
    log = tmp_path / "train.log"
    log.write_text(trained[1])
    points = validations(log)
    assert sorted(points) == [3, 4, 6, 8, 9, 12]
    assert float(points[12]["valid_nll_loss"]) < float(points[3]["valid_nll_loss"])
    epochs = [f for f in map(training_line, trained[1].splitlines()) if "train_wpb" in f]
    words = sum(4 * float(f["train_wpb"]) for f in epochs)
    seconds, speed = training_cost(log)
    assert speed * seconds == pytest.approx(words if seconds else 0)


def test_a_failing_command_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"exit status 3; .*\n(.*\n)*last words"):
        run([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"no-such-command is not installed: pip install"):
        run(["no-such-command"], tmp_path / "log")


def test_report_files(tmp_path):
    row = {**dict.fromkeys(report.COLUMNS, 1), "p_value": None, "bleu_signature": "b", "chrf_signature": "c"}
    curves = {"ce": {1: {"valid_nll_loss": "9.5"}, 2: {"valid_nll_loss": "8.5"}}}
    text = report.write({"ce": row}, curves, {"language": "de"}, tmp_path)
    table = (tmp_path / "report.md").read_text()
    assert "|     ce |       1 | 1.000 |" in table
    assert table.splitlines()[2] in text
    assert json.loads((tmp_path / "results.json").read_text())["systems"]["ce"]["p_value"] is None
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
