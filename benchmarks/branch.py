"""Begin runs of a late bonus from the baseline's checkpoints.

    python -m benchmarks.branch SETTINGS BASE SYSTEM

With ``--bonus-delay-updates M`` a system trains bit for bit as its baseline up to update M, so that part need
not be done twice. Each run of SYSTEM that has not begun gets what it would have made up to the end of the
last epoch before update M; ``el-nmt-benchmark`` then resumes it. The baseline has to keep that epoch's
checkpoint, by ``--keep-last-epochs`` in ``train`` of SETTINGS.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from el_plugins.checkpoints.choose import numbered_checkpoints
from el_plugins.checkpoints.safe_loading import load_checkpoint
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.settings import System, read_settings
from el_plugins.utils.files import atomic_dir, check_settings, write_text
from el_plugins.utils.program import program


def delay(base: System, late: System) -> int:
    """The update at which ``late`` begins to differ from ``base``.

    Raises:
        ValueError: they differ in more than a late bonus.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--bonus", "--log-end"):
        parser.add_argument(name)
    parser.add_argument("--bonus-delay-updates", type=int)
    options, others = parser.parse_known_args(shlex.split(base.arguments))
    wanted, late_others = parser.parse_known_args(shlex.split(late.arguments))
    if (base.criterion, others, options.bonus) != (late.criterion, late_others, "none"):
        raise ValueError(f"{late.name} must be {base.name}, which has --bonus none, with a late bonus")
    if wanted.bonus_delay_updates is None:
        raise ValueError(f"{late.name} must have --bonus-delay-updates")
    return wanted.bonus_delay_updates


def checkpoints_before(folder: Path, update: int) -> list[tuple[Path, dict[str, Any]]]:
    """The epoch checkpoints in ``folder`` up to ``update``, oldest first, each with its state.

    Raises:
        ValueError: there is none.
    """
    states = ((path, load_checkpoint(path)) for path in numbered_checkpoints(folder))
    found = list(takewhile(lambda one: one[1]["optimizer_history"][-1]["num_updates"] <= update, states))
    if not found:
        raise ValueError(f"{folder} has no epoch checkpoint before update {update}: raise --keep-last-epochs")
    return found


def branch(base: Run, late: Run) -> Path:
    """Make the folder of ``late``, with the part of ``base`` that both share; the checkpoint it goes on from.

    Raises:
        ValueError: ``base`` has other settings, or a checkpoint that is needed is missing.
    """
    base.check()
    found = checkpoints_before(base.checkpoints, delay(base.system, late.system))
    last, state = found[-1]
    scores = {one["extra_state"]["val_loss"]: path for path, one in found}
    best = state["extra_state"]["best"]
    if best not in scores:
        raise ValueError(f"{base.checkpoints} lacks the best checkpoint up to {last.name}")
    named = {path.name: path for path, _ in found}
    saved, _, _ = base.log.read_text(encoding="utf-8").partition(f"{last.name} (epoch")
    with atomic_dir(late.folder) as folder:
        (folder / late.checkpoints.name).mkdir()
        for name, path in {**named, "checkpoint_last.pt": last, "checkpoint_best.pt": scores[best]}.items():
            shutil.copyfile(path, folder / late.checkpoints.name / name)
        write_text(folder / late.log.name, saved.rpartition("\n")[0] + "\n")
        check_settings(late.training_settings, folder)
    return last


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.branch", description=__doc__)
    parser.add_argument("settings", type=Path, help="the benchmark's YAML file")
    parser.add_argument("base", help="system whose runs are there")
    parser.add_argument("system", help="the same with a late bonus")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the file's")
    parser.add_argument("--output", type=Path, help="instead of the file's")
    options = parser.parse_args(arguments)
    with program("branch", "stopped"):
        settings = read_settings(
            options.settings,
            output=options.output,
            systems=(options.base, options.system),
            seeds=options.seeds or (),
        )
        systems = {system.name: system for system in settings.systems}
        output = Path(str(settings.output)).resolve()
        for seed in settings.seeds:
            base, late = (Run(settings, systems[n], seed, output) for n in (options.base, options.system))
            if late.folder.exists():
                print(f"{late.name} has begun already")
            else:
                print(f"{late.name} goes on from {branch(base, late).name} of {base.name}")


if __name__ == "__main__":
    main()
