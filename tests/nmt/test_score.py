"""``el-score`` as a user runs it."""

import json

import pytest

from tests.commands import ONE_BY_ONE, PLUGIN, run

sacrebleu = pytest.importorskip("sacrebleu")
pytest.importorskip("fairseq")

from el_plugins.nmt.score import main, score_file
from el_plugins.nmt.scoring import score_tokenised


@pytest.fixture(scope="module")
def generated(corpus, trained, tmp_path_factory):
    """A real output of fairseq-generate."""
    path = tmp_path_factory.mktemp("generate") / "generate.txt"
    model = trained[0] / "checkpoint_best.pt"
    options = [
        "--user-dir",
        PLUGIN,
        "--path",
        model,
        "--beam",
        "2",
        "--max-len-b",
        "10",
        "--cpu",
        *ONE_BY_ONE,
    ]
    path.write_text(run("fairseq-generate", corpus[1], *options))
    return path


def test_generated_output(corpus, generated, tmp_path):
    output = run(
        "el-score", generated, "--reference", corpus[0] / "test.en", "--json", tmp_path / "scores.json"
    )
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"bleu_tokenised", "bleu", "chrf", "ter"}
    for metric, row in scores.items():
        assert f"{row['score']:.2f} |" in next(line for line in output.splitlines() if f" {metric} |" in line)


def test_tokenised_bleu_is_fairseqs(tmp_path):
    references = [f"a {word} , it sat on the mat" for word in ("cat", "dog", "hen")]
    hypotheses = [line.replace("a cat , it", "the cat").replace("dog ,", "dog") for line in references]
    (tmp_path / "sys").write_text("\n".join(hypotheses) + "\n")
    (tmp_path / "ref").write_text("\n".join(references) + "\n")
    theirs = run("fairseq-score", "--sys", tmp_path / "sys", "--ref", tmp_path / "ref")
    ours = score_tokenised(hypotheses, references)["bleu_tokenised"]
    assert f"BLEU4 = {ours['score']:.2f}, " in theirs
    assert f"BP={ours['brevity_penalty']:.3f}, ratio={ours['length_ratio']:.3f}" in theirs


def test_plain_text(tmp_path):
    (tmp_path / "out").write_text("the cat sat , on a mat\n\n")
    (tmp_path / "ref").write_text("the cat sat, on the mat\na\n")
    run("el-score", tmp_path / "out", "--reference", tmp_path / "ref", "--json", tmp_path / "a.json")
    command = ["el-score", tmp_path / "out", "--reference", tmp_path / "ref", "--detokenizer", "moses"]
    run(*command, "--json", tmp_path / "b.json")
    chrf = [json.loads((tmp_path / name).read_text())["chrf"]["score"] for name in ("a.json", "b.json")]
    expected = sacrebleu.corpus_chrf(
        ["the cat sat, on a mat", ""], [["the cat sat, on the mat", "a"]], word_order=2
    )
    assert chrf[1] == pytest.approx(expected.score)


def test_lines_end_at_line_feeds_only(tmp_path):
    (tmp_path / "out").write_bytes(b"one two\nthree four\n")
    for text in (b"one\rtwo\nthree four\n", b"one two\r\nthree four\r\n"):
        (tmp_path / "ref").write_bytes(text)
        assert score_file(tmp_path / "out", tmp_path / "ref")["chrf"]["score"] == pytest.approx(100)


def test_bad_input_is_named(tmp_path):
    (tmp_path / "out").write_text("one\n")
    assert "out is not the output of fairseq-generate, so it needs --reference" in run(
        "el-score", tmp_path / "out", check=False
    )
    (tmp_path / "ref").write_text("one\ntwo\n")
    assert "1 translations, but 2 references" in run(
        "el-score", tmp_path / "out", "--reference", tmp_path / "ref", check=False
    )
    assert "No such file" in run("el-score", tmp_path / "none", check=False)
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes("déjà\n".encode("latin-1"))
    for file, reference, message in [
        ("empty", "empty", "empty is empty"),
        ("out", "empty", "1 translations, but 0 references"),
        ("latin", "out", "latin is not UTF-8 text: "),
        ("out", "latin", "latin is not UTF-8 text: "),
    ]:
        with pytest.raises(SystemExit, match=f"^el-score: .*{message}"):
            main([str(tmp_path / file), "--reference", str(tmp_path / reference)])


def test_the_folder_of_json_is_made_and_a_pipe_is_read_once(tmp_path):
    (tmp_path / "ref").write_text("one two three four\n")
    folder = tmp_path / "made" / "if missing"
    command = ["el-score", "/dev/stdin", "--reference", tmp_path / "ref", "--json", folder / "scores.json"]
    run(*command, text="one two three four\n")
    assert json.loads((folder / "scores.json").read_text())["bleu"]["score"] == pytest.approx(100)
    (tmp_path / "file").touch()
    text = run(*command[:-1], tmp_path / "file" / "a.json", text="one\n", check=False)
    assert text.splitlines()[-1] == f"el-score: {tmp_path / 'file'}: File exists"


def test_a_byte_order_mark_is_no_word(tmp_path):
    for name, encoding in (("out", "utf-8"), ("ref", "utf-8-sig")):
        (tmp_path / name).write_text("one two three four\n", encoding=encoding)
    scores = score_file(tmp_path / "out", tmp_path / "ref")
    assert scores["bleu"]["score"] == pytest.approx(100)


def test_missing_sentences_point_to_the_flag_of_fairseq(tmp_path):
    (tmp_path / "out").write_text("S-0\ta\nT-0\tb\nH-0\t-1\tb\nS-2\ta\nT-2\tb\nH-2\t-1\tb\n")
    text = run("el-score", tmp_path / "out", check=False)
    assert "without --required-batch-size-multiple 1 it leaves sentences out" in text
