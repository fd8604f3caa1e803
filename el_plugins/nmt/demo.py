"""The demo: one small translation model with cross-entropy, one with encouraging loss, compared.

Builds a corpus of real, human-translated text from message catalogues inside PyPI packages, trains both
models with the same seed and budget through fairseq's own commands, averages their last checkpoints,
translates held-out sentences and prints one table. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from el_plugins.checkpoints.average import average_checkpoints, positive, save_atomically
from el_plugins.checkpoints.choose import last_checkpoints
from el_plugins.nmt import catalogues, report
from el_plugins.nmt.prepare import prepare
from el_plugins.nmt.scoring import detokenise, paired_test, read_generated, score_text
from el_plugins.nmt.training_log import last_validation, training_cost, training_line, validations
from el_plugins.workflow.commands import run
from el_plugins.workflow.results import check_settings

PLUGIN = Path(__file__).resolve().parents[1]
SYSTEMS = {
    "ce_ls": ["--criterion", "label_smoothed_cross_entropy"],
    "el_ls": ["--criterion", "encouraging_ls", "--log-end", "0.5"],
}
AVERAGED = 3
MODEL = (
    "--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.1 "
    "--encoder-layers 2 --encoder-embed-dim 192 --encoder-ffn-embed-dim 768 --encoder-attention-heads 4 "
    "--decoder-layers 2 --decoder-embed-dim 192 --decoder-ffn-embed-dim 768 --decoder-attention-heads 4"
).split()
OPTIMISATION = (
    "--optimizer adam --adam-betas (0.9,0.98) --clip-norm 1.0 --weight-decay 0.0001 --lr 0.003 "
    "--lr-scheduler inverse_sqrt --warmup-updates 200 --label-smoothing 0.1 --max-tokens 2048"
).split()


def train(system: str, data: Path, folder: Path, updates: int, seed: int) -> None:
    """Train ``system`` on the binarised corpus ``data`` by fairseq-train, with a progress bar."""
    bar = tqdm(total=updates, desc=f"training {system}", unit="update")

    def watch(line: str) -> None:
        figures = training_line(line)
        if "num_updates" in figures:
            bar.n = int(figures["num_updates"])
            bar.set_postfix_str(f"nll {figures['nll_loss']}, {figures['wps']} words/s")

    command: list[Any] = [
        "fairseq-train",
        data,
        "--user-dir",
        PLUGIN,
        *SYSTEMS[system],
        *MODEL,
        *OPTIMISATION,
    ]
    command += ["--seed", seed, "--max-update", updates, "--save-dir", folder / "checkpoints"]
    command += ["--keep-last-epochs", AVERAGED, "--best-checkpoint-metric", "nll_loss"]
    command += ["--log-format", "json", "--log-interval", 10]
    with bar:
        run([str(word) for word in command], folder / "train.log", watch, append=True)


def build_corpus(corpus: Path, downloads: Path, language: str) -> None:
    """Make the folder ``corpus`` from the wheels kept in ``downloads``, unless it is there."""
    if not corpus.exists():
        prepare(catalogues.corpus(catalogues.download(downloads, language), language), language, corpus)


def evaluate(system: str, corpus: Path, folder: Path, language: str, sentences: int) -> dict[str, Any]:
    """Average the last checkpoints, validate and translate: figures on valid, output in generate.txt."""
    averaged = folder / "averaged.pt"
    if not averaged.exists():
        checkpoints = folder / "checkpoints"
        # A budget of few epochs leaves fewer to average.
        count = min(AVERAGED, len(list(checkpoints.glob("checkpoint[0-9]*.pt"))))
        paths = last_checkpoints(checkpoints, max(count, 1))
        save_atomically(average_checkpoints(paths), averaged)
    common: list[Any] = [
        corpus / "bin",
        "--source-lang",
        language,
        "--target-lang",
        "en",
        "--user-dir",
        PLUGIN,
        "--path",
        averaged,
        "--max-tokens",
        "4000",
    ]
    if not (folder / "validate.log").exists():
        # Under our criterion the baseline is measured alike: nll is the same, well_classified is new.
        criterion = "{'criterion': {'_name': 'encouraging_ls'}}"
        run(
            [
                "fairseq-validate",
                *common,
                "--task",
                "translation",
                "--model-overrides",
                criterion,
                "--log-format",
                "json",
            ],
            folder / "validate.unfinished",
        )
        (folder / "validate.unfinished").rename(folder / "validate.log")
    if not (folder / "generate.txt").exists():
        with tqdm(total=sentences, desc=f"translating {system}", unit="sentence") as bar:
            run(
                ["fairseq-generate", *common, "--beam", "5", "--remove-bpe"],
                folder / "generate.unfinished",
                lambda line: bar.update(line.startswith("H-")),
            )
        (folder / "generate.unfinished").rename(folder / "generate.txt")
    return last_validation(folder / "validate.log")


def demo(language: str, folder: Path, updates: int, seed: int) -> None:
    """Run what is missing of the demo in ``folder`` and write and print its report."""
    settings = {"language": language, "updates": updates, "seed": seed, "model": MODEL}
    settings.update(optimisation=OPTIMISATION, systems=SYSTEMS, averaged=AVERAGED)
    check_settings(settings, folder)
    corpus = folder / "corpus"
    build_corpus(corpus, folder.parent / "downloads", language)
    references = (corpus / "text" / "test.en").read_text(encoding="utf-8").splitlines()

    rows: dict[str, dict[str, Any]] = {}
    curves = {}
    for system in SYSTEMS:
        output = folder / system
        output.mkdir(exist_ok=True)
        if not (output / "trained").exists():
            train(system, corpus / "bin", output, updates, seed)
            (output / "trained").touch()
        figures = evaluate(system, corpus, output, language, len(references))
        curves[system] = validations(output / "train.log")
        seconds, speed = training_cost(output / "train.log")
        rows[system] = {
            "updates": updates,
            "nll": float(figures["valid_nll_loss"]),
            "ppl": float(figures["valid_ppl"]),
            "well_classified": float(figures["valid_well_classified"]),
            "minutes": round(seconds / 60, 1),
            "words_per_second": round(speed),
        }
    hypotheses = {
        name: detokenise(read_generated(folder / name / "generate.txt").hypotheses, "moses", "en")
        for name in SYSTEMS
    }
    p_values = paired_test(hypotheses, references, "bs")
    for name, lines in hypotheses.items():
        scores = score_text(lines, references)
        rows[name].update(bleu=scores["bleu"]["score"], bleu_signature=scores["bleu"]["signature"])
        rows[name].update(chrf=scores["chrf"]["score"], chrf_signature=scores["chrf"]["signature"])
        rows[name]["p_value"] = p_values[name]["bleu"] if name in p_values else None
    print(report.write(rows, curves, settings, folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m el_plugins.nmt.demo``."""
    parser = argparse.ArgumentParser(prog="python -m el_plugins.nmt.demo", description=__doc__)
    parser.add_argument("--language", choices=["de", "fr"], default="de", help="translate from it to English")
    parser.add_argument("--folder", type=Path, help="where everything goes (default: demo/LANGUAGE-en)")
    parser.add_argument("--updates", type=positive, default=600, help="training updates of each system")
    parser.add_argument("--seed", type=positive, default=1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        folder = options.folder or Path("demo") / f"{options.language}-en"
        demo(options.language, folder, options.updates, options.seed)
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"demo: {error}") from error
    print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
