"""What submitit runs: a run's missing steps, from training to scores.

Each step leaves a file when it is complete and is skipped if that exists, so a run that was killed, timed out
or requeued resumes. A training that diverges ends its run: its result is the step, and no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submitit.helpers import DelayedSubmission

from el_plugins.nmt.benchmark.evaluation import evaluate, measure_tokens
from el_plugins.nmt.benchmark.launch import find_machines
from el_plugins.nmt.benchmark.machines import join
from el_plugins.nmt.benchmark.runs import Run
from el_plugins.nmt.benchmark.training import averaged_names, train
from el_plugins.nmt.training_log import training_cost, validations
from el_plugins.utils.divergence import DIVERGED, DivergedError
from el_plugins.utils.files import read_json, write_json, write_text
from el_plugins.utils.versions import versions

PACKAGES = ("el_plugins", "torch", "fairseq", "ve-fairseq", "sacrebleu", "sacremoses", "numpy")


@dataclass(frozen=True)
class Job:
    """Completes ``run`` when it is called."""

    run: Run

    def __call__(self) -> None:
        """Do what is missing; an error is also written to the run's folder.

        On further machines of a SLURM job it only takes part in the training.
        """
        run, machines = self.run, find_machines(self.run.benchmark.launch)
        if machines.rank > 0:
            if not run.trained.exists():
                join(run, machines)
            return
        with run.locked() as lock:
            run.failure.unlink(missing_ok=True)
            try:
                run.check()
                if not run.result.exists():
                    write_json(run.result, _complete(run, lock))
            except Exception as error:
                write_text(run.failure, f"{type(error).__name__}: {error}\n")
                raise

    def checkpoint(self) -> DelayedSubmission:
        """What submitit requeues when the time limit is near."""
        return DelayedSubmission(self)


def _complete(run: Run, lock: int) -> dict[str, Any]:
    """Train, average, translate, score and measure; the result."""
    record = {"system": run.system.name, "seed": run.seed, "versions": versions(PACKAGES)}
    try:
        train(run, lock)
    except DivergedError as error:
        return {**record, DIVERGED: error.step}
    scores = evaluate(run, lock)
    measure_tokens(run)
    seconds, speed = training_cost(run.log)
    return {
        **record,
        "averaged": averaged_names(run),
        "scores": scores,
        "curve": validations(run.log),
        "training": {"minutes": seconds / 60, "words_per_second": speed, **read_json(run.trained)},
        "evaluation": run.evaluation_settings(),
    }
