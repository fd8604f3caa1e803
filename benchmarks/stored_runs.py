"""Keep the small files of finished translation runs, and make the report from them on any machine.

    python -m benchmarks.stored_runs store SETTINGS FOLDER --output OUTPUT
    python -m benchmarks.stored_runs restore SETTINGS FOLDER --output OUTPUT

``store`` copies the scores, settings, curves and translations of the averaged checkpoint from
OUTPUT to FOLDER, which belongs under version control. ``restore`` makes runs of them in OUTPUT;
``el-nmt-benchmark`` takes these as complete and reports them. Their speed is left out: stored runs may be of
several machines, or have been paused, which fairseq's clock does not know.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from el_plugins.nmt.benchmark.corpus import pair, prepare
from el_plugins.nmt.benchmark.runs import Run, all_runs
from el_plugins.nmt.benchmark.settings import Data, read_settings
from el_plugins.nmt.parallel import read_raw_lines
from el_plugins.nmt.scoring import read_generated
from el_plugins.utils.divergence import DIVERGED
from el_plugins.utils.files import atomic_dir, write_json, write_text
from el_plugins.utils.program import program

SETTINGS = "settings.json"
SPEED = ("minutes", "words_per_second")


def translations(run: Run) -> Iterator[tuple[str, str]]:
    """Subset and file of each translation with the averaged checkpoint."""
    record = run.read_result()
    for row in () if DIVERGED in record else record["scores"]:
        if row["checkpoint"] == "averaged":
            yield row["subset"], row["translations"]


def store(run: Run, stored: Run) -> None:
    """Copy the complete ``run`` to ``stored``, its translations as plain lines of tokens."""
    with atomic_dir(stored.folder) as folder:
        for path in (run.folder / SETTINGS, run.result):
            shutil.copyfile(path, folder / path.name)
        for _, name in translations(run):
            lines = read_generated(run.translations / name).hypotheses
            write_text(folder / name, "".join(f"{line}\n" for line in lines))


def tokens(data: Data, subset: str, language: str) -> list[str]:
    """The sentences of a binarised subset, subwords joined, as ``fairseq-generate`` prints them."""
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(Path(data.folder) / f"dict.{language}.txt"))
    prefix = Path(data.folder) / f"{subset}.{pair(data)}.{language}"
    sentences = data_utils.load_indexed_dataset(str(prefix), dictionary)
    target = language == data.target
    return [dictionary.string(one, data.remove_bpe, escape_unk=target) for one in sentences]


def restore(stored: Run, run: Run) -> None:
    """Make the complete ``run`` of ``stored``.

    Raises:
        ValueError: ``stored`` has other settings or another corpus, or a file with the wrong number of lines.
    """
    stored.check()
    data = run.benchmark.data
    with atomic_dir(run.folder) as folder:
        shutil.copyfile(stored.folder / SETTINGS, folder / SETTINGS)
        record = stored.read_result()
        for figure in SPEED:
            record.get("training", {}).pop(figure, None)
        write_json(folder / run.result.name, record)
        (folder / run.translations.name).mkdir()
        for subset, name in translations(stored):
            columns = {"S": tokens(data, subset, data.source), "T": tokens(data, subset, data.target)}
            columns["H"] = [f"0\t{line}" for line in read_raw_lines(stored.folder / name)]
            if len(columns["H"]) != len(columns["S"]):
                count = f"{len(columns['H'])} lines, {subset} has {len(columns['S'])}"
                raise ValueError(f"{stored.folder / name} has {count}")
            lines = (
                f"{kind}-{n}\t{line}\n" for kind, texts in columns.items() for n, line in enumerate(texts)
            )
            write_text(folder / run.translations.name / name, "".join(lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stored_runs", description=__doc__)
    parser.add_argument("action", choices=("store", "restore"))
    parser.add_argument("settings", type=Path, help="the benchmark's YAML file")
    parser.add_argument("folder", type=Path, help="of the stored runs")
    parser.add_argument("--output", type=Path, help="the benchmark's folder, instead of the file's")
    options = parser.parse_args(arguments)
    with program("stored_runs", "stopped"):
        benchmark = read_settings(options.settings, output=options.output)
        prepare(benchmark.data, options.settings.resolve().parent)
        live = all_runs(benchmark, Path(str(benchmark.output)).resolve())
        for run, stored in zip(live, all_runs(benchmark, options.folder.resolve())):
            source, target = (run, stored) if options.action == "store" else (stored, run)
            if source.result.exists() and not target.folder.exists():
                (store if options.action == "store" else restore)(source, target)
                print(f"{target.name} is in {target.folder}")


if __name__ == "__main__":
    main()
