"""The report's sentences: what the averaged checkpoints hold that readers would not expect."""

import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark import wording
from tests import made_up

THREE = ["checkpoint2.pt", "checkpoint3.pt", "checkpoint4.pt"]
# The bonus comes in within the fourth epoch.
FACTORS = {1: None, 2: None, 3: "0", 4: "1"}


def curve(factors):
    """Validations of an epoch each, by update."""
    return {
        str(10 * epoch): {"epoch": epoch, "valid_nll_loss": "3"}
        | ({} if factor is None else {"valid_bonus_factor": factor})
        for epoch, factor in factors.items()
    }


@pytest.mark.parametrize(
    ("names", "factors", "notes"),
    [
        (THREE, dict.fromkeys(FACTORS), []),
        (THREE, FACTORS, ["2 of the 3 averaged epochs ended before the bonus came in"]),
        (THREE, {3: "0", 5: "1"}, ["2 of the 3 averaged epochs ended before the bonus came in"]),
        (THREE, {**FACTORS, 2: "0.1", 3: "0.6"}, []),
        (["checkpoint1.pt"], {}, ["fewer than 3 epochs, so only 1 averaged"]),
        (["checkpoint_last.pt"], {}, ["shorter than an epoch, so checkpoint_last.pt was averaged"]),
    ],
)
def test_averages(names, factors, notes):
    results = made_up.results({"ce": [30.0, 31.0], "el": [31.0, 32.0]})
    for seed in (1, 2):
        results.runs[f"el/seed{seed}"].update(averaged=names, curve=curve(factors))
    assert wording.averages(results) == [f"el/seed1, el/seed2: {note}" for note in notes]
