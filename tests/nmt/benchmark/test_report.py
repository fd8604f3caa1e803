"""The reports of made-up scores: Markdown read as text, HTML by a parser and in a headless browser."""

import re
import shutil
from html.parser import HTMLParser

import pytest

from tests.commands import REPOSITORY

pytest.importorskip("matplotlib")
pytest.importorskip("sacrebleu")

from el_plugins.nmt.benchmark import report, wording
from el_plugins.nmt.benchmark.figures import draw
from el_plugins.nmt.benchmark.results import Results, read_rows
from el_plugins.nmt.benchmark.sections import make_sections
from tests import made_up

BLEU = {"ce": (30.0, 31.0, 30.5), "el": (31.0, 32.5, 31.4), "far": (29.0, 32.0, None)}
ORDER = [
    "Runs without a result",
    "What it costs",
    "Validation",
    "Margins and energies",
    "Lengths",
    "Sentences that changed most",
    "How sure",
    "All scores and tests",
    "Settings",
    "Commands",
]
ATTACK = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"


def write(results, folder):
    """Write both reports; the files of the plots by name."""
    sections = make_sections(results)
    plots = draw(results, sections, folder / "figures")
    report.write(results, sections, plots, folder)
    return plots


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both reports, written."""
    folder = tmp_path_factory.mktemp("report")
    results = made_up.results(BLEU, diverged=840)
    results.failed = {"el/seed9": f"RuntimeError: fairseq-train ended with exit status 1\n{ATTACK}"}
    results.translations["el", 1, "averaged", "test"][0] = f"the cat {ATTACK}"
    write(results, folder)
    return folder


def test_markdown(folder):
    text = (folder / "report.md").read_text()
    # Differences 1, 1.5, 0.9: t = 6.117 with two degrees of freedom.
    # In the other two seeds the sentences score the same.
    sure = "95 % interval +0.33 to +1.93, p = 0.026, with Holm's correction 0.026, 3 seeds"
    tests = "over sentences significantly better in 1 of 3 seeds; length ratio 0.970 against 0.970"
    verdict = f"- **el: better.** test, averaged checkpoint: BLEU +1.13 against ce ({sure}); {tests}."
    assert verdict in text
    assert "- **far: no result.** test, averaged checkpoint: far diverged at step 840 (seed 3)." in text
    assert " el, seed 1, BLEU |" in text
    assert " 30.50 ± 0.50 |" in text
    assert "They cover which sentences are in the test set" in text
    assert "- el/seed9: RuntimeError: fairseq-train ended with exit status 1\n" in text
    for plot in ("differences", "nll", "margins", "energies", "lengths"):
        assert f"(figures/{plot}.svg)" in text
        assert (folder / "figures" / f"{plot}.svg").read_text().endswith("</svg>\n")
    headings = re.findall("^## (.*)", text, re.MULTILINE)
    assert headings == ORDER[:-1]  # the commands stand below the settings
    assert "\n\n\n" not in text
    # A sentence is in an indented block, where nothing is markup.
    assert re.findall(f"^.*{re.escape(ATTACK)}", text, re.MULTILINE) == [f"    el: the cat {ATTACK}"]


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.text += text


def test_sentences_and_errors_are_no_markup_in_html(folder):
    page = Page((folder / "report.html").read_text())
    assert page.text.count(ATTACK) == 2
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("img")) == (1, 5)
    assert not any("onerror" in attributes for _, attributes in page.tags)


def test_a_diverged_run_shows_no_number(folder):
    text = (folder / "report.md").read_text()
    single = re.search(r"^\| +far, seed 3 \|(.*)$", text, re.MULTILINE)[1]
    assert [cell.strip() for cell in single.split("|")][:-1] == ["diverged at step 840", *"-----"]
    for row in re.findall(r"^\| +far, diverged at step 840 \(seed 3\) \|(.*)$", text, re.MULTILINE)[:1]:
        assert not re.search(r"\d\.\d", row)
        assert row.count("no result") == 3


def test_a_committed_benchmark_still_makes_a_report(tmp_path):
    committed = REPOSITORY / "benchmarks" / "results" / "nmt_de_en" / "results.jsonl"
    settings = made_up.settings(["ce_ls", "el_ls"], [1, 2, 3])
    plots = write(Results("nmt_de_en", settings, read_rows(committed)), tmp_path)
    text = (tmp_path / "report.md").read_text()
    # As its own report had it before p-values were corrected.
    assert "**el_ls: no significant difference.** test, averaged checkpoint: BLEU -0.23 against ce_ls" in text
    assert " -0.23 | -1.47 to +1.01 | 0.5141 |   0.5141 | no significant difference |" in text
    assert list(plots) == ["differences"]
    assert "What it costs" not in text


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
    sizes = opened.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) == 5
    assert min(sizes) > 100
    assert opened.locator("h2").all_inner_texts() == ORDER
    assert opened.locator("details[open]").count() == 0
    assert complaints == []


def test_html_is_inert(page):
    opened, _ = page
    assert opened.title() == "made up"
    assert ATTACK in opened.inner_text("body")
    assert opened.locator("script").count() == 1
    assert opened.locator("img[src=x]").count() == 0


def test_html_sorts(page):
    opened, _ = page
    table = opened.locator("table").first
    column = "rows => rows.map(row => row.cells[2].textContent)"
    heading = table.locator("th button").nth(2)
    heading.click()
    values = ["30.50 ± 0.50", "31.63 ± 0.78"]
    assert [v for v in table.locator("tbody tr").evaluate_all(column) if v in values] == values
    heading.click()
    assert [v for v in table.locator("tbody tr").evaluate_all(column) if v in values] == values[::-1]
    assert table.locator("th").nth(2).get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390, 360])
def test_html_never_scrolls_sideways(page, width, scheme):
    opened, _ = page
    opened.set_viewport_size({"width": width, "height": 800})
    opened.emulate_media(color_scheme=scheme)
    opened.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)"
    assert opened.eval_on_selector_all(".wide, pre", too_wide) == []
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(254, 254, 254)", "dark": "rgb(21, 23, 27)"}[scheme]


def test_the_tests_over_sentences_have_a_direction():
    # The sentences of both differ from the references in one word; only the scores say which is better.
    results = made_up.results({"ce": [30.0, 30.0, 30.0], "el": [31.0, 29.0, 30.5]})
    (section,) = make_sections(results)
    for test, p_value in zip(section.tests, (0.01, 0.04, 0.2)):
        test["ar_holm"]["bleu"] = p_value
    ((_, verdict, why),) = wording.verdicts(section)
    assert verdict == "no significant difference"
    assert "over sentences significantly better in 1 and worse in 1 of 3 seeds; length" in why
    for test in section.tests:
        test["ar_holm"]["bleu"] = 1.0
    assert "over sentences significant in none of 3 seeds; length" in wording.verdicts(section)[0][2]
