"""Settings of a translation benchmark that takes seconds."""

import pytest

from tests.commands import TINY_MODEL

SETTINGS = """\
data: {{folder: {data}, source: de, target: en, references: {{test: {text}/test.en}}, detokenizer: null}}
train: >-
  {model} --optimizer adam --lr 0.01 --smoothing uniform --label-smoothing 0.1 --num-workers 0
  --max-tokens 300 --max-update 20 --keep-last-epochs 9
systems:
- {{name: ce, criterion: encouraging_ls, arguments: --bonus none}}
- {{name: late, criterion: encouraging_ls, arguments: --log-end 0.5 --bonus-delay-updates 12}}
- {{name: other, criterion: encouraging_ls, arguments: --lr 0.1 --bonus-delay-updates 12}}
- {{name: early, criterion: encouraging_ls, arguments: --log-end 0.5}}
- {{name: very_late, criterion: encouraging_ls, arguments: --bonus-delay-updates 1}}
seeds: [1]
average: 3
generate: --beam 1 --max-len-b 10 --batch-size 1
"""


@pytest.fixture(scope="session")
def settings(corpus, tmp_path_factory):
    """The settings file."""
    path = tmp_path_factory.mktemp("settings") / "settings.yaml"
    path.write_text(SETTINGS.format(data=corpus[1], text=corpus[0], model=" ".join(TINY_MODEL)))
    return path
