"""fairseq's own commands with the plugin, on a tiny corpus."""

import json
import math
import shutil
import sys

import pytest

from tests.commands import ONE_BY_ONE, PLUGIN, REPOSITORY, TINY_MODEL, TRAINING, run

pytest.importorskip("fairseq")

from el_plugins.checkpoints.safe_loading import load_checkpoint
from el_plugins.nmt.training_log import training_line
from tests.fairseq_criterions.criteria import GLOO, assert_same_weights, processes
from tests.marks import long


def figures(output, key):
    return [line[key] for line in map(training_line, output.splitlines()) if key in line]


def test_training_logs_what_compares_and_evaluates_bleu(trained):
    folder, output = trained
    assert figures(output, "train_well_classified")
    nll = [float(value) for value in figures(output, "valid_nll_loss")]
    assert nll[-1] < nll[0]
    assert figures(output, "valid_bleu")
    best = load_checkpoint(folder / "checkpoint_best.pt")["extra_state"]["best"]
    assert best == pytest.approx(max(float(value) for value in figures(output, "valid_bleu")), abs=0.01)


def test_validate(trained, corpus):
    command = ["fairseq-validate", corpus[1], "--task", "translation", "--user-dir", PLUGIN, "--cpu"]
    command += ["--path", trained[0] / "checkpoint_last.pt", "--log-format", "json"]
    output = run(*command, *ONE_BY_ONE)
    assert float(figures(output, "valid_nll_loss")[-1]) == pytest.approx(
        float(figures(trained[1], "valid_nll_loss")[-1]), abs=2e-3
    )


def test_generate_and_interactive_agree(trained, corpus):
    text, data = corpus
    path = trained[0] / "checkpoint_last.pt"
    common = [data, "--user-dir", PLUGIN, "--path", path, "--beam", 2, "--cpu", "--max-len-b", 12]
    generated = run("fairseq-generate", *common, *ONE_BY_ONE)
    source = (text / "test.de").read_text()
    interactive = run("fairseq-interactive", *common, "-s", "de", "-t", "en", text=source)

    def hypotheses(output):
        lines = [line.split("\t") for line in output.splitlines() if line.startswith("H-")]
        return {parts[0]: parts[2] for parts in lines}

    assert len(hypotheses(generated)) == 12
    assert hypotheses(generated) == hypotheses(interactive)


def test_hub_interface(trained, corpus):
    script = (
        "from fairseq.models.transformer import TransformerModel\n"
        f"hub = TransformerModel.from_pretrained({str(trained[0])!r}, 'checkpoint_last.pt', "
        f"{str(corpus[1])!r}, user_dir={str(PLUGIN)!r})\n"
        "print('TRANSLATION', hub.translate('w1 w2 w3', beam=2))\n"
    )
    output = run(sys.executable, "-c", script)
    assert [line for line in output.splitlines() if line.startswith("TRANSLATION")]


def test_resume_in_mid_epoch_under_the_other_name(trained, train, tmp_path):
    # In the first epoch: later ones fairseq batches anew on resuming, under any criterion.
    shutil.copy(trained[0] / "checkpoint_1_3.pt", tmp_path / "checkpoint_last.pt")
    options = ["--max-update", 6, "--save-interval-updates", 3]
    _, output = train(*options, save_dir=tmp_path, criterion="encouraging_label_smoothed_cross_entropy")
    assert figures(output, "num_updates") == ["4", "5", "6"]
    assert_same_weights(tmp_path / "checkpoint_2_6.pt", trained[0] / "checkpoint_2_6.pt")


def test_resume_in_the_warm_up_of_the_bonus(train, tmp_path):
    schedule = ["--bonus-delay-updates", 1, "--bonus-warmup-updates", 8, "--bonus-schedule", "exp"]
    options = [*schedule, "--save-interval-updates", 3, "--max-update", 6]
    whole, output = train(*options)
    wanted = [math.expm1(5 * max(u - 1, 0) / 8) / math.expm1(5) for u in range(6)]
    assert [float(x) for x in figures(output, "bonus_factor")] == pytest.approx(wanted, abs=5e-5)
    shutil.copy(whole / "checkpoint_1_3.pt", tmp_path / "checkpoint_last.pt")
    _, resumed = train(*options, save_dir=tmp_path)
    assert figures(resumed, "num_updates") == ["4", "5", "6"]
    for key in ("loss", "bonus_factor"):
        assert figures(resumed, key) == figures(output, key)[3:]
    assert_same_weights(tmp_path / "checkpoint_2_6.pt", whole / "checkpoint_2_6.pt")


@pytest.mark.parametrize("fused", [[], *long(["--fused-output-layer"])])
def test_before_the_delay_is_over_training_has_no_bonus(train, fused):
    results = [
        train("--max-update", 4, *fused, *options)
        for options in (["--bonus", "none"], ["--bonus-delay-updates", 4], ["--bonus-delay-updates", 3])
    ]
    plain, delayed, bonus_at_last = [folder / "checkpoint_last.pt" for folder, _ in results]
    assert_same_weights(delayed, plain)
    losses = [figures(output, "loss") for _, output in results]
    assert losses[0] == losses[1] != losses[2]
    assert losses[0][:3] == losses[2][:3]
    with pytest.raises(AssertionError):
        assert_same_weights(bonus_at_last, plain)


def test_finetune_from_a_stock_checkpoint(train):
    stock, _ = train("--max-update", 2, criterion="label_smoothed_cross_entropy")
    start = stock / "checkpoint_last.pt"
    _, output = train("--max-update", 2, "--finetune-from-model", start, "--log-end", 1.0)
    assert "loading pretrained model from" in output
    assert figures(output, "num_updates") == ["1", "2"]


def test_two_processes_are_one_with_twice_the_batches(train):
    options = ["--sentence-avg", "--max-update", 3, "--dropout", 0, "--bonus-warmup-updates", 4]
    one, output = train(*options, "--update-freq", 2)
    assert figures(output, "num_updates") == ["1", "2", "3"]
    two, output = train(*options, *GLOO, launcher=processes(2))
    assert "distributed_world_size': 2" in output
    assert [float(factor) for factor in figures(output, "bonus_factor")] == [0, 0.25, 0.5]
    assert_same_weights(one / "checkpoint_last.pt", two / "checkpoint_last.pt", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("break_mode", ["eos", *long("none")])
def test_language_model(break_mode, corpus, tmp_path):
    text, _ = corpus
    prefixes = [f"--{split}pref={text / split}.de" for split in ("train", "valid")]
    run("fairseq-preprocess", "--only-source", *prefixes, "--destdir", tmp_path / "bin")
    model = "--arch transformer_lm --decoder-layers 1 --decoder-embed-dim 16 --decoder-ffn-embed-dim 16"
    command = [
        "fairseq-train",
        tmp_path / "bin",
        "--task",
        "language_modeling",
        "--user-dir",
        PLUGIN,
        "--cpu",
    ]
    command += [*model.split(), "--decoder-attention-heads", 2, "--tokens-per-sample", 16, *TRAINING]
    command += ["--sample-break-mode", break_mode]
    output = run(*command, "--criterion", "encouraging_ls", "--max-update", 4, "--save-dir", tmp_path / "lm")
    assert figures(output, "train_well_classified")


def test_hydra_with_the_shipped_yaml(corpus, tmp_path):
    example = REPOSITORY / "examples" / "fairseq"
    output = run(
        "fairseq-hydra-train",
        f"task.data={corpus[1]}",
        f"common.user_dir={PLUGIN}",
        "common.cpu=true",
        "optimization.max_update=2",
        "dataset.max_tokens=300",
        f"checkpoint.save_dir={tmp_path / 'hydra'}",
        "--config-dir",
        example,
        "--config-name",
        "encouraging_ls",
        cwd=tmp_path,
    )
    stored = load_checkpoint(tmp_path / "hydra" / "checkpoint_last.pt")["cfg"]["criterion"]
    assert stored["_name"] == "encouraging_ls", output[-2000:]
    assert stored["log_end"] == 0.5


def test_adaptive_softmax_is_refused(corpus, tmp_path):
    command = ["fairseq-train", corpus[1], "--user-dir", PLUGIN, "--criterion", "encouraging_ls", "--cpu"]
    command += [*TINY_MODEL, *TRAINING, "--adaptive-softmax-cutoff", "8", "--save-dir", tmp_path]
    output = run(*command, "--max-update", 1, check=False)
    assert "encouraging_ls needs the full distribution over the vocabulary" in output


def test_settings_are_stored(trained):
    stored = load_checkpoint(trained[0] / "checkpoint_last.pt")["cfg"]["criterion"]
    expected = {"log_end": 0.5, "bonus": "log", "bonus_weight": 1.0, "smoothing": "fairseq"}
    assert {name: stored[name] for name in expected} == expected
    assert json.dumps(stored)
