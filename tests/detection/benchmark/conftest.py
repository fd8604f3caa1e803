"""A detection benchmark that takes seconds: three scenes of real digits, a small network, two iterations."""

import numpy as np
import pytest

SETTINGS = """\
data:
  train: {{name: tiny_train, annotations: {data}/train.json, images: {data}/train}}
  test: {{name: tiny_test, annotations: {data}/val.json, images: {data}/val}}
config: small_R_18_FPN_scratch.yaml
options: >-
  MODEL.RETINANET.NUM_CLASSES 10 INPUT.MIN_SIZE_TRAIN (96,) INPUT.MIN_SIZE_TEST 96
  MODEL.RETINANET.SCORE_THRESH_TEST 0.0 SOLVER.IMS_PER_BATCH 2 SOLVER.MAX_ITER 2 {options}
systems:
{systems}seeds: [1]
"""


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder with train.json, train/, val.json and val/."""
    datasets = pytest.importorskip("sklearn.datasets")
    from experiments.detection.coco import write_split
    from experiments.detection.digits import scenes

    folder = tmp_path_factory.mktemp("digits")
    data = datasets.load_digits()
    for split, count in {"train": 3, "val": 2}.items():
        pictures = scenes(data.images, data.target, np.full(10, 0.1), count, np.random.default_rng(count))
        write_split(folder, split, pictures, [str(digit) for digit in range(10)])
    return folder


@pytest.fixture
def tiny(digits, tmp_path):
    """Write a benchmark of these systems, (name, options), into a file; the file."""

    def write(*systems, options="", data=digits):
        lines = "".join(f'- {{name: {system}, options: "{own}"}}\n' for system, own in systems)
        path = tmp_path / "tiny.yaml"
        path.write_text(SETTINGS.format(data=data, options=options, systems=lines))
        return path

    return write
