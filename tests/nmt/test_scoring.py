"""Scores against sacrebleu called directly, and the log readers on real lines."""

import math
import sys

import numpy as np
import pytest
from scipy import stats

sacrebleu = pytest.importorskip("sacrebleu")

from el_plugins.nmt.scoring import detokenise, paired_test, read_generated, score_text, score_tokenised
from el_plugins.nmt.training_log import (
    ended_by_divergence,
    gpu_memory,
    nonfinite_update,
    training_cost,
    training_line,
    validations,
)
from el_plugins.utils.commands import run

REFERENCES = [f"the {word} sat on the mat near the old {word}" for word in ("cat", "dog", "hen", "fox")] * 10
GOOD = [line.replace("near", "by") for line in REFERENCES]
BAD = [line.replace("sat on", "was at").replace("old", "new") for line in REFERENCES]


GENERATED = (
    "S-1\tx\nT-1\tB , b\nH-1\t-0.1\tB , b\nH-1\t-0.4\tworse\nD-1\t-0.1\tb\nP-1\t-0.2\n"
    "S-0\ty\nT-0\ta\nH-0\t-0.3\t\nGenerate test\n"
)

# As fairseq's trainer says it.
INCONSISTENT = (
    "FloatingPointError: Fatal error: gradients are inconsistent between workers. "
    "Try --ddp-backend=legacy_ddp. Or are you mixing up different generation of GPUs in training?\n"
    "----\ngrad_norm across the workers:\nrank   0 = {}\nrank   1 = {}\n\n----"
)


def test_scores_are_sacrebleus():
    for lines in (BAD, GOOD):
        scores = score_text(lines, REFERENCES)
        assert scores["bleu"]["score"] == pytest.approx(sacrebleu.corpus_bleu(lines, [REFERENCES]).score)
        chrf = sacrebleu.corpus_chrf(lines, [REFERENCES], word_order=2)
        assert scores["chrf"]["score"] == pytest.approx(chrf.score)
        assert scores["ter"]["score"] == pytest.approx(sacrebleu.corpus_ter(lines, [REFERENCES]).score)
    assert "nw:2" in scores["chrf"]["signature"]
    short = score_text([line[: len(line) // 2] for line in REFERENCES], REFERENCES)["bleu"]
    assert short["length_ratio"] < 0.6
    assert short["brevity_penalty"] == pytest.approx(math.exp(1 - 1 / short["length_ratio"]))
    with pytest.raises(ValueError, match="40 translations, but 39 references"):
        score_text(GOOD, REFERENCES[1:])


def test_chinese_is_split_by_sacrebleus_own_tokeniser():
    references = ["我喜欢在公园里吃苹果。", "他昨天去了学校。"]
    near, far = ["我喜欢在公园吃苹果。", "他昨天去了学校。"], ["今晚会下雨吗?", "猫坐在垫子上面。"]
    for language in ("zh", "zh_CN", "ZH-hans"):
        good, bad = (score_text(lines, references, language) for lines in (near, far))
        assert good["bleu"]["score"] == sacrebleu.corpus_bleu(near, [references], tokenize="zh").score > 50
        assert good["bleu"]["score"] > bad["bleu"]["score"] + 50
        assert good["ter"]["score"] < 20 < 80 < bad["ter"]["score"]
        assert "tok:zh" in good["bleu"]["signature"]
        tokens = score_tokenised(near, references, language)["bleu_tokenised"]["score"]
        assert tokens == good["bleu"]["score"]
    assert score_text(near, references)["bleu"]["score"] < 50


@pytest.mark.parametrize("test", ["bs", "ar"])
def test_paired_tests_tell_systems_apart(test):
    p_values = paired_test({"bad": BAD, "good": GOOD, "the same": BAD}, REFERENCES, test)
    assert set(p_values) == {"good", "the same"}
    assert p_values["good"]["bleu"] < 0.01
    assert set(p_values["the same"].values()) == {1.0}
    assert p_values == paired_test({"bad": BAD, "good": GOOD, "the same": BAD}, REFERENCES, test)


def test_the_bootstrap_counts_both_ends():
    # Sentences of which either system breaks some, one of them a few more.
    rng = np.random.default_rng(3)
    chosen = rng.random((2, 200)) < [[0.3], [0.36]]
    references = [f"the {number} cats sat on the mat of the old house" for number in range(200)]
    first, second = (
        [line.replace("sat on", "lay by") if bad else line for line, bad in zip(references, each)]
        for each in chosen
    )
    # Brevity and matches are linear enough that BLEU's difference is nearly normal.
    resamples = rng.integers(200, size=(300, 200))

    def bleu(lines, chosen):
        return sacrebleu.corpus_bleu([lines[i] for i in chosen], [[references[i] for i in chosen]]).score

    deviation = np.std([bleu(first, one) - bleu(second, one) for one in resamples])
    difference = bleu(first, range(200)) - bleu(second, range(200))
    expected = 2 * stats.norm.sf(abs(difference) / deviation)
    p_value = paired_test({"first": first, "second": second}, references, "bs")["second"]["bleu"]
    assert 0.05 < expected < 0.2
    assert p_value == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("test", ["bs", "ar"])
def test_other_words_with_the_same_score_are_no_significant_difference(test):
    other = [line.replace("was at", "lay by") for line in BAD]
    assert paired_test({"bad": BAD, "other": other}, REFERENCES, test)["other"]["bleu"] == 1.0


def test_generated_sentences_in_the_order_of_the_corpus(tmp_path):
    path = tmp_path / "generate.txt"
    path.write_text(GENERATED)
    assert read_generated(path) == (["y", "x"], ["", "B , b"], ["a", "B , b"])
    path.write_text(GENERATED.replace("T-0", "T-2"))
    with pytest.raises(ValueError, match=r"not a complete output .* 2 lines of T-, 2 of H-"):
        read_generated(path)


def test_detokenise():
    assert detokenise(["B , b", "( so )"], "moses", "en") == ["B, b", "(so)"]
    assert detokenise(["B , b"], None, "en") == ["B , b"]
    with pytest.raises(ValueError, match="must be one of moses, got 'mecab'"):
        detokenise([], "mecab", "en")


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
    assert gpu_memory(log) is None


def test_training_cost_counts_an_epoch_once(tmp_path):
    first, second = (
        f'2024 | INFO | train | {{"epoch": {epoch}, "train_num_updates": "{updates}", '
        f'"train_wpb": "{words}", "train_train_wall": "{seconds}"}}'
        for epoch, updates, words, seconds in ((1, 4, 100, 10), (2, 10, 200, 20))
    )
    log = tmp_path / "train.log"
    # A training that starts again from an earlier checkpoint ends an epoch twice.
    log.write_text("\n".join([first, second, second]))
    assert training_cost(log) == (30, pytest.approx(1600 / 30))


def test_a_line_that_was_cut_short_has_no_figures(trained, tmp_path):
    # By a full disk: the next command goes on below it.
    log = tmp_path / "train.log"
    lines = [line for line in trained[1].splitlines() if "train_wpb" in line or "valid_loss" in line]
    log.write_text("\n".join([*lines, lines[-1][:-30], "$ fairseq-train data", ""]))
    assert sorted(validations(log)) == [3, 4, 6, 8, 9, 12]
    assert training_line(lines[-1])
    assert training_line(lines[-1][:-30]) == {}


def test_gpu_memory_is_what_was_not_free(tmp_path):
    log = tmp_path / "train.log"
    # As fairseq's trainer writes it, on two GPUs.
    total = "rank   {}: capabilities =  9.0  ; total memory = 79.100 GB ; name = NVIDIA H100"
    lines = [f"2024-01-01 | INFO | fairseq.utils | {total.format(rank)}" for rank in (0, 1)]
    lines += [f'2024 | INFO | train_inner | {{"gb_free": "{free}"}}' for free in (70.1, 68.6, 69.9)]
    log.write_text("\n".join(lines))
    assert gpu_memory(log) == pytest.approx(10.5)


def test_losses_that_are_not_finite():
    assert nonfinite_update({}) is None
    # A step that was skipped for the loss scale's sake leaves no loss, and no perplexity is a loss.
    assert nonfinite_update({"num_updates": "10", "loss": "-1.5", "ppl": "inf", "loss_scale": "inf"}) is None
    assert nonfinite_update({"num_updates": "10", "loss": "1.5", "nll_loss": "nan"}) == 10
    assert nonfinite_update({"valid_loss": "inf", "valid_num_updates": "7", "valid_best_nll_loss": "2"}) == 7


@pytest.mark.parametrize(
    ("line", "diverged"),
    [
        ("FloatingPointError: gradients are Nan/Inf", True),
        ("FloatingPointError: Minimum loss scale reached (0.0001). Your loss is probably exploding.", True),
        ("FloatingPointError: AMP: Minimum loss scale reached (0.0001).", True),
        ("NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 64.0", False),
        ("torch.OutOfMemoryError: CUDA out of memory", False),
        (INCONSISTENT.format("nan", "nan"), True),
        (INCONSISTENT.format("1.25000000", "inf"), True),
        (INCONSISTENT.format("1.25000000", "1.50000000"), False),
    ],
)
def test_the_end_of_a_diverged_log(line, diverged, tmp_path):
    log = tmp_path / "train.log"
    before = "$ fairseq-train before\nFloatingPointError: gradients are Nan/Inf\n"
    log.write_text(f"{before}$ fairseq-train\n{line}\n")
    assert ended_by_divergence(log) == diverged


def test_a_failing_command_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"exit status 3; .*\n(.*\n)*last words"):
        run([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"no-such-command is not installed: pip install"):
        run(["no-such-command"], tmp_path / "log")
