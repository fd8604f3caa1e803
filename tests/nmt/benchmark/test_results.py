"""Reading what runs wrote: pooled scores against sacrebleu's of all sentences, diverged and partial runs."""

import json

import numpy as np
import pytest

sacrebleu = pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.results import read_rows, read_runs
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.score import score_file
from tests import made_up

TEXTS = {
    "test_a": ["the cat sat on the mat today", "a dog ran off", "one hen lays an egg"],
    "test_b": ["two foxes met in the wood at night", "it rained"],
}


@pytest.fixture
def run(tmp_path):
    """A run of two test sets that left its translations and scores."""
    references = {}
    for subset, lines in TEXTS.items():
        references[subset] = str(tmp_path / f"{subset}.en")
        (tmp_path / f"{subset}.en").write_text("\n".join(lines) + "\n")
    benchmark = made_up.settings(["el"], [1], references=references)
    run = Run(benchmark, benchmark.systems[0], 1, tmp_path / "out")
    (run.folder / "translations").mkdir(parents=True)
    rows = []
    for subset, lines in TEXTS.items():
        path = run.folder / "translations" / f"averaged.{subset}.txt"
        texts = [
            f"S-{n}\tQuelle {subset} {n}\nT-{n}\t{line}\nH-{n}\t-0.1\t{hypothesis(line)}"
            for n, line in enumerate(lines)
        ]
        path.write_text("$ /here/fairseq-generate\n" + "\n".join(reversed(texts)) + "\n")
        place = {
            "checkpoint": "averaged",
            "subset": subset,
            "translations": path.name,
            "length_penalty": None,
        }
        rows.append({**place, **score_file(path, tmp_path / f"{subset}.en")})
    run.result.write_text(json.dumps({"scores": rows, "training": {"minutes": 1.0}}))
    return run


def hypothesis(line):
    return line.replace("the", "a", 1)


def test_pooled_scores_are_those_of_all_sentences(run):
    results = read_runs(run.benchmark, [run], {})
    pooled = results.rows[-1]
    assert [row["subset"] for row in results.rows] == ["test_a", "test_b", "pooled"]
    references = TEXTS["test_a"] + TEXTS["test_b"]
    hypotheses = list(map(hypothesis, references))
    expected = sacrebleu.corpus_bleu(hypotheses, [references])
    assert pooled["bleu"]["score"] == pytest.approx(expected.score)
    assert pooled["bleu"]["score"] != pytest.approx(
        np.mean([row["bleu"]["score"] for row in results.rows[:2]])
    )
    assert pooled["bleu"]["length_ratio"] == expected.ratio
    assert pooled["ter"]["score"] == pytest.approx(sacrebleu.corpus_ter(hypotheses, [references]).score)
    chrf = sacrebleu.corpus_chrf(hypotheses, [references], word_order=2)
    assert pooled["chrf"]["score"] == pytest.approx(chrf.score)
    tokens = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="none", force=True)
    assert pooled["bleu_tokenised"]["score"] == pytest.approx(tokens.score)
    assert results.translations["el", 1, "averaged", "pooled"] == hypotheses
    assert results.references["pooled"] == references
    assert results.sources["pooled"][3] == "Quelle test_b 0"


def test_pooled_scores_are_stored(run):
    read_runs(run.benchmark, [run], {})
    (stored,) = (run.output / "pooled_scores").iterdir()
    stored.write_text('{"bleu": "stored"}')
    assert read_runs(run.benchmark, [run], {}).rows[-1]["bleu"] == "stored"


def test_without_all_translations_nothing_is_pooled(run):
    next(run.folder.glob("translations/*test_b*")).unlink()
    results = read_runs(run.benchmark, [run], {})
    assert [row["subset"] for row in results.rows] == ["test_a", "test_b"]
    assert ("el", 1, "averaged", "test_a") in results.translations
    assert "tokens" not in results.runs["el/seed1"]


def test_commands_are_those_that_the_files_begin_with(run):
    path = run.folder / "translations" / "averaged.test_b.txt"
    path.write_text(path.read_text().partition("\n")[2])
    assert read_runs(run.benchmark, [run], {}).runs["el/seed1"]["commands"] == ["fairseq-generate"]


@pytest.mark.parametrize("step", [840, None])
def test_a_diverged_run_has_no_scores(run, step):
    run.result.write_text(json.dumps({"system": "el", "seed": 1, "diverged": step, "curve": {}}))
    assert read_runs(run.benchmark, [run], {}).rows == [{"system": "el", "seed": 1, "diverged": step}]


def test_no_complete_run_is_an_error(run):
    run.result.unlink()
    with pytest.raises(ValueError, match="no run is complete"):
        read_runs(run.benchmark, [run], {})


def test_rows_are_read_back(tmp_path):
    rows = [made_up.row("el", 1, 30.0), {"system": "el", "seed": 2, "diverged": 7}]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_rows(tmp_path / "results.jsonl") == rows


@pytest.mark.parametrize("size", [0, 100, -50])
def test_a_damaged_file_of_measures_is_named(run, size):
    path = run.folder / "tokens.npz"
    np.savez_compressed(path, log_p=np.random.default_rng(0).normal(size=200))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"tokens\.npz is damaged .*: delete it and result\.json beside it"):
        read_runs(run.benchmark, [run], {})
