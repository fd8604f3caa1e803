"""Every example as a user runs it: it trains, and prints that it learnt."""

import re
from importlib.util import find_spec

import pytest

from tests.commands import REPOSITORY, run

EXAMPLES = [
    ("timm_training.py", "timm"),
    ("timm_training.py --mixup", "timm"),
    ("huggingface_classification.py", "transformers"),
    ("huggingface_seq2seq.py", "transformers"),
    ("huggingface_causal_lm.py", "transformers"),
    ("huggingface_marian.py", "transformers"),
    ("huggingface_detection.py", "transformers"),
    ("lightning_classifier.py", "lightning"),
    ("metric_learning.py", "pytorch_metric_learning"),
    ("torchvision_retinanet.py", "torchvision"),
    ("torchvision_segmentation.py", "torchvision"),
]
LONG = {"timm_training.py", "huggingface_marian.py", "torchvision_retinanet.py"}
NUMBER = r"(-?\d+\.\d+)"


# Asked for without importing it, which takes some of them ten seconds.
@pytest.mark.parametrize(
    ("command", "package"),
    [
        pytest.param(command, package, id=command, marks=[pytest.mark.long] if command in LONG else [])
        for command, package in EXAMPLES
    ],
)
def test_it_learns(command, package):
    if not (find_spec(package) and find_spec("sklearn")):
        pytest.skip(f"needs {package} and scikit-learn")
    name, *options = command.split()
    output = run("python", REPOSITORY / "examples" / name, *options)
    losses = re.findall(rf"\bloss {NUMBER}, then {NUMBER}", output)
    if not losses:
        by_step = re.findall(rf"\bloss {NUMBER}", output)
        losses = [(by_step[0], by_step[-1])]
    assert all(float(last) < float(first) for first, last in losses), output
    accuracies = re.findall(rf"accuracy {NUMBER}", output)
    assert all(float(accuracy) > 0.5 for accuracy in accuracies[-len(losses) :]), output  # chance is 0.1
    if name == "huggingface_seq2seq.py":
        assert "2031-05-17: 17 May 2031" in output
    elif name not in ("torchvision_retinanet.py", "huggingface_detection.py", "huggingface_causal_lm.py"):
        assert len(accuracies) >= len(losses)
