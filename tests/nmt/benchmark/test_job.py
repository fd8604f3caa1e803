"""A run's job near its time limit, in the hands of submitit."""

import signal

import pytest

pytest.importorskip("submitit")

from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths
from submitit.local.local import LocalJobEnvironment

from el_plugins.nmt.benchmark.job import Job
from el_plugins.nmt.benchmark.runs import Run
from tests import made_up


def test_a_job_near_its_time_limit_is_queued_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "1")
    benchmark = made_up.settings(["el"], [1])
    job = Job(Run(benchmark, benchmark.systems[0], 1, tmp_path / "out"))
    submission, paths = DelayedSubmission(job), JobPaths(tmp_path, "1")
    submission.set_timeout(1, max_num_timeout=1)  # of one minute, the last ten are too near
    handler = SignalHandler(LocalJobEnvironment(), paths, submission)
    with pytest.raises(SystemExit):  # instead of an error, which would end the job for good
        handler.checkpoint_and_try_requeue(signal.SIGUSR2)
    assert DelayedSubmission.load(paths.submitted_pickle).function == job
