"""The README is short, links lead somewhere, and nothing that users type is missing from its page."""

import dataclasses
import re
import sys

import pytest

from el_plugins import losses
from tests.commands import REPOSITORY, run

ROOT_PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
PAGES = [*(REPOSITORY / name for name in ROOT_PAGES), *sorted((REPOSITORY / "docs").glob("*.md"))]


def page(name):
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def anchors(text):
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_readme_is_read_in_one_go():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert len(text.split()) <= 1600
    for command in ("make demo", "make test"):
        assert re.search(rf"^{command}\b", text, re.M)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text):
        target, _, anchor = "".join(link).partition("#")
        if target.startswith("http"):
            continue
        file = path.parent / target if target else path
        assert file.is_file(), f"{path.name} links to {target}"  # the site has no page for a folder
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{path.name}: #{anchor} of {target}"


def test_the_readme_and_the_losses_choose_the_same():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text.split("## Which loss")[1].split("\n## ")[0]
    choices = re.findall(r"^\| .*? (\| .* \|)$", section, re.M)[1:]  # the words for the task may differ
    assert len(choices) > 5
    assert not [choice for choice in choices if f" {choice}\n" not in page("losses.md")]


def test_every_loss_is_documented():
    for name in losses.__all__:
        assert f"el_plugins.losses.{name}\n" in page("reference.md")
        assert f"`{name}`" in page("losses.md")


def test_every_flag_of_the_criterion_is_documented():
    config = pytest.importorskip("fairseq_criterions.config")
    fields = dataclasses.fields(config.EncouragingLabelSmoothedCrossEntropyCriterionConfig)
    flags = {"--" + field.name.replace("_", "-") for field in fields} - {"---name", "--sentence-avg"}
    assert len(flags) > 12
    assert not [flag for flag in flags if f"`{flag}" not in page("fairseq.md")]


def test_every_key_of_detectron2_is_documented():
    heads = pytest.importorskip("detectron2_heads")
    from detectron2.config import get_cfg

    before, cfg = get_cfg(), get_cfg()
    heads.add_halted_focal_config(cfg)
    heads.add_encouraging_config(cfg)
    keys = [
        f"MODEL.{part}.{key}" for part in before.MODEL for key in keys_of(cfg, part) - keys_of(before, part)
    ]
    assert len(keys) == 4
    assert not [key for key in keys if f"`{key}`" not in page("detectron2.md")]


def keys_of(cfg, part):
    values = cfg.MODEL[part]
    return set(values) if hasattr(values, "keys") else set()


def test_the_figures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    run(sys.executable, REPOSITORY / "docs" / "figures.py", tmp_path, env={"PYTHONPATH": str(REPOSITORY)})
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (REPOSITORY / "docs" / "images").iterdir()}
    assert all(b"<svg" in (tmp_path / name).read_bytes() for name in drawn)
