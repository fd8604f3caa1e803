"""Tables: what training cost, and what they show where figures are missing."""

import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("submitit")

from el_plugins.nmt.benchmark import tables
from el_plugins.nmt.benchmark.results import Results
from el_plugins.nmt.benchmark.sections import make_sections
from tests import made_up


@pytest.fixture
def results():
    """Two systems with two seeds, without translations."""
    settings = made_up.settings(["ce", "el"], [1, 2])
    pairs = [(name, seed) for name in ("ce", "el") for seed in (1, 2)]
    rows = [made_up.row(name, seed, 30.0 + seed) for name, seed in pairs]
    return Results(
        "made up", settings, rows, runs={f"{name}/seed{seed}": made_up.run() for name, seed in pairs}
    )


def test_cost(results):
    for seed, speed in ((1, 1400.0), (2, 1600.0)):
        results.runs[f"el/seed{seed}"]["training"]["words_per_second"] = speed
    heading, baseline, system = tables.cost(results)
    assert heading == ["system", "words a second", "relative to ce", "minutes", "peak memory (GiB)"]
    assert baseline == ["ce", "3000 ± 0", "1.00 x", "2.0 ± 0.0", "1.25 ± 0.00"]
    assert system[:3] == ["el", "1500 ± 141", "0.50 x"]


def test_cost_of_a_training_that_took_no_time_and_of_old_results(results):
    for run in results.runs.values():
        run["training"] = {"minutes": 0.0, "words_per_second": 0.0}
    heading, baseline, _ = tables.cost(results)
    assert heading == ["system", "words a second", "minutes"]
    assert baseline == ["ce", "0 ± 0", "0.0 ± 0.0"]


def test_the_runs_that_diverged_cost_nothing_and_validate_nothing(results):
    results.rows = [row for row in results.rows if (row["system"], row["seed"]) != ("el", 2)]
    results.rows.append({"system": "el", "seed": 2, "diverged": None})
    results.runs["el/seed2"]["training"]["words_per_second"] = float("nan")
    name = "el, diverged after the last step (seed 2)"
    assert tables.cost(results)[2][:2] == [name, "3000"]
    assert tables.validation(results)[2] == [name, "no result", "no result"]
    (section,) = make_sections(results)
    assert tables.headline(section)[2] == [name, "2", "no result", "no result", "-", "-", "-", "no result"]


def test_how_nll_ended(results):
    ends = {
        "ce/seed1": (9, 5, 4, 3.5, 3.2),
        "ce/seed2": (5, 4, 3.5, 2.9),
        "el/seed1": (5, 4, 5),
        "el/seed2": (5, 4, 5),
    }
    for run, nll in ends.items():
        results.runs[run]["curve"] = {str(n): {"valid_nll_loss": str(one)} for n, one in enumerate(nll)}
    # (3.2 - 5) / 3 and (2.9 - 5) / 3; two changes are too few.
    assert tables.convergence(results)[1:] == [["ce", "-0.650 ± 0.071"]]


def test_a_difference_is_of_the_seeds_that_both_have(results):
    # Seed 2 of the baseline is not there: its mean is of another seed alone.
    results.rows = [row for row in results.rows if (row["system"], row["seed"]) != ("ce", 2)]
    (section,) = make_sections(results)
    baseline, system = tables.headline(section)[1:]
    assert (baseline[2], system[2]) == ("31.00", "31.50 ± 0.71")
    assert system[3:] == ["+0.00 (seeds in common: 1)", "-", "-", "-", "not tested"]


def test_without_figures_a_table_is_its_heading(results):
    results.runs = {}
    assert len(tables.cost(results)) == len(tables.validation(results)) == 1
    assert len(tables.sentence_tests(*make_sections(results))) == 1
