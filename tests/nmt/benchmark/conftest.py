"""Settings of a benchmark that takes seconds."""

import pytest

from tests.commands import TINY_MODEL

SETTINGS = """\
data:
  folder: {data}
  source: de
  target: en
  references: {{test: {text}/test.en}}
  detokenizer: null
train: >-
  {model} --optimizer adam --lr 0.01 --label-smoothing 0.1 --num-workers 0
  --max-tokens {tokens} --max-update {updates}
systems:
{systems}seeds: [1]
average: {average}
generate: --beam 2 --max-len-b 10 --batch-size 1
{more}
"""
CRITERIA = {"ce": "label_smoothed_cross_entropy", "el": "encouraging_ls"}


@pytest.fixture(scope="session")
def tiny_settings(corpus):
    """Write a benchmark of the tiny model on the tiny corpus to a file; the file."""

    def write(path, *, tokens, updates, average, systems=("el",), more=""):
        lines = "".join(f"- {{name: {name}, criterion: {CRITERIA[name]}}}\n" for name in systems)
        values = {"tokens": tokens, "updates": updates, "average": average, "systems": lines, "more": more}
        path.write_text(SETTINGS.format(data=corpus[1], text=corpus[0], model=" ".join(TINY_MODEL), **values))
        return path

    return write
