"""What a run of the detection benchmark depends on: the initial weights by their content."""

import dataclasses

import pytest

pytest.importorskip("detectron2")

from el_plugins.detection.benchmark.driver import plan
from el_plugins.detection.benchmark.machines import Machines
from el_plugins.detection.benchmark.settings import read_settings

FOCAL = ("focal", "")


@pytest.fixture(params=["the file's weights", "an option"])
def planned(request, tiny, tmp_path):
    """The only run of a benchmark that starts from this file of weights, checked as before its training."""

    def planned(weights):
        option = request.param == "an option"
        path = tiny(FOCAL, options=f"MODEL.WEIGHTS {weights}" if option else "")
        if not option:
            path.write_text(f"{path.read_text()}weights: {weights}\n")
        (run,) = plan(read_settings(path), path, tmp_path / "out", Machines())
        return run

    return planned


def test_other_weights_under_the_same_path_are_refused(planned, tmp_path):
    weights, copy = tmp_path / "weights.pth", tmp_path / "copy.pth"
    for path in (weights, copy):
        path.write_bytes(b"one")
    planned(weights).folder.mkdir(parents=True)
    before = planned(weights).training_settings
    assert planned(copy).training_settings == before
    weights.write_bytes(b"two")
    with pytest.raises(
        ValueError, match=r"focal/seed1 was made with other settings \(weights\): take another"
    ):
        planned(weights)


def test_other_numbers_of_gpus_are_other_trainings(tiny, tmp_path):
    path = tiny(FOCAL, options="SOLVER.IMS_PER_BATCH 2 SOLVER.REFERENCE_WORLD_SIZE 0")
    (one,) = plan(read_settings(path), path, tmp_path / "out", Machines())
    two = dataclasses.replace(one, gpus=2)
    assert two.training_settings == {**one.training_settings, "processes": 2}


def test_weights_that_detectron2_fetches_keep_their_address(tiny, tmp_path):
    path = tiny(FOCAL)
    path.write_text(f"{path.read_text()}weights: detectron2://ImageNetPretrained/MSRA/R-50.pkl\n")
    (run,) = plan(read_settings(path), path, tmp_path / "out", Machines())
    assert run.training_settings["weights"] == "detectron2://ImageNetPretrained/MSRA/R-50.pkl"


def test_weights_that_are_missing_are_named(tiny, tmp_path):
    path = tiny(FOCAL)
    path.write_text(f"{path.read_text()}weights: missing.pth\n")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'missing.pth'}"):
        plan(read_settings(path), path, tmp_path / "out", Machines())
