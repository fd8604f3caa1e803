"""The reports of made-up scores: Markdown read as text, HTML in a headless browser."""

import shutil

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark import report, tables
from el_plugins.nmt.benchmark.figures import draw
from el_plugins.nmt.benchmark.statistics import METRICS
from el_plugins.workflow.paired import over_seeds

SEEDS = (1, 2, 3)
BLEU = {"ce": (30.0, 31.0, 30.5), "el": (31.0, 32.5, 31.4)}


@pytest.fixture(scope="module")
def summary():
    """What would be gathered of two systems with three seeds."""
    rows, systems = [], {}
    for name, values in BLEU.items():
        by_seed = dict(zip(SEEDS, values))
        compared = over_seeds(by_seed, dict(zip(SEEDS, BLEU["ce"]))) if name == "el" else {}
        one = {"mean": np.mean(values), "sd": np.std(values, ddof=1), **compared}
        figures = {"brevity_penalty": 0.98, "length_ratio": 0.97, "length_penalties": [None] * 3}
        systems[name] = {"seeds": 3, **dict.fromkeys(METRICS, one), **figures}
        place = {"checkpoint": "averaged", "subset": "test", "system": name}
        rows += [{**place, "seed": seed, "bleu": {"score": bleu}} for seed, bleu in by_seed.items()]
    runs = [f"{name}/seed{seed}" for name in BLEU for seed in SEEDS]
    generator = np.random.default_rng(0)
    tokens = {
        "log_p": -generator.exponential(size=50),
        "margin": generator.normal(size=50),
        "energy": generator.normal(size=50),
    }
    test = {"bleu": 0.04}
    place = {"system": "el", "seed": 1, "checkpoint": "averaged", "subset": "test"}
    settings = {
        "train": "--lr 1",
        "seeds": SEEDS,
        "average": 3,
        "generate": "--beam 5",
        "length_penalties": [],
    }
    settings["systems"] = [{"name": n, "criterion": "c", "arguments": ""} for n in BLEU]
    sentence = {"source": "Katze <b>", "reference": "cat", "baseline": "dog", "system": "cat", "change": 80.0}
    return {
        "name": "made up",
        "settings": settings,
        "systems": list(BLEU),
        "seeds": dict.fromkeys(BLEU, SEEDS),
        "diverged": [],
        "failed": {"el/seed9": "RuntimeError: fairseq-train ended with exit status 1\nlast line"},
        "sections": [
            {
                "checkpoint": "averaged",
                "subset": "test",
                "systems": systems,
                "signatures": dict.fromkeys(METRICS, "nrefs:1"),
            }
        ],
        "rows": rows,
        "sentence_tests": [{**place, "differences": {"bleu": 1.0}, "bs": test, "ar": test}],
        "curves": {run: {"10": {"valid_nll_loss": "9"}, "20": {"valid_nll_loss": "8"}} for run in runs},
        "tokens": dict.fromkeys(runs, tokens),
        "training": {run: {"minutes": 2.0, "words_per_second": 3000.0} for run in runs},
        "lengths": {name: {"1-5": 40.0, "6-10": 30.0} for name in BLEU},
        "changed": {"el": [sentence]},
        "versions": {run: {"torch": "2"} for run in runs},
        "commands": {run: ["fairseq-train data"] for run in runs},
    }


@pytest.fixture(scope="module")
def folder(summary, tmp_path_factory):
    """Both reports, written."""
    folder = tmp_path_factory.mktemp("report")
    report.write(summary, draw(summary, folder / "figures"), folder)
    return folder


def test_markdown(folder):
    text = (folder / "report.md").read_text()
    # Differences 1, 1.5, 0.9: t = 6.117 with two degrees of freedom.
    found = "test, averaged checkpoint: BLEU +1.13 to ce (95 % interval +0.33 to +1.93, p = 0.026, 3 seeds)"
    assert f"- **el: better.** {found}" in text
    assert "| el, seed 1, test, averaged checkpoint, BLEU |" in text
    assert "| 30.50 ± 0.50 |" in text
    assert "They cover which sentences are in the test set" in text
    assert "- el/seed9: RuntimeError: fairseq-train ended with exit status 1\n" in text
    for plot in ("scores", "nll", "margins", "energies", "lengths"):
        assert f"(figures/{plot}.svg)" in text
        assert (folder / "figures" / f"{plot}.svg").read_text().endswith("</svg>\n")
    # No run logged this, so there is no empty plot of it.
    assert not (folder / "figures" / "well_classified.svg").exists()
    assert "<b>" in text.split("source: ")[1]


def test_a_baseline_that_diverged_leaves_no_verdict(summary):
    diverged = [{"system": "ce", "seed": 2, "diverged": 340}]
    sections = [{**summary["sections"][0], "systems": {}}]
    found = tables.verdicts({**summary, "diverged": diverged, "sections": sections})
    assert [(name, verdict) for name, verdict, _ in found] == [("ce", "no result"), ("el", "no result")]
    assert found[1][2] == "ce, which it is compared with: seed 2 diverged at step 340"


@pytest.fixture(scope="module")
def page(folder):
    """The report in a browser without a network, and what the browser complained of."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed here to open the report in")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_context(offline=True).new_page()
        complaints = []
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on(
            "request", lambda asked: asked.url[:5] in ("file:", "data:") or complaints.append(asked.url)
        )
        opened.goto((folder / "report.html").as_uri())
        yield opened, complaints
        browser.close()


def test_html_opens_and_shows_its_plots(page):
    opened, complaints = page
    assert opened.title() == "made up"
    sizes = opened.eval_on_selector_all(".plots img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) == 5
    assert min(sizes) > 100
    assert "Katze <b>" in opened.inner_text(".pair")
    assert complaints == []


def test_html_sorts(page):
    opened, _ = page
    # The second table: one difference a score, then the first by BLEU.
    table = opened.locator("table").first
    column = "rows => rows.map(row => row.cells[3].textContent)"
    heading = table.locator("th button").nth(3)
    heading.click()
    assert table.locator("tbody tr").evaluate_all(column) == ["30.50 ± 0.50", "31.63 ± 0.78"]
    heading.click()
    assert table.locator("tbody tr").evaluate_all(column) == ["31.63 ± 0.78", "30.50 ± 0.50"]
    assert table.locator("th").nth(3).get_attribute("aria-sort") == "descending"


def test_html_on_a_narrow_screen(page):
    opened, _ = page
    opened.set_viewport_size({"width": 360, "height": 740})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
