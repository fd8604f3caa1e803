"""Small IWSLT archives, the recipes beside settings for them, and one whole run."""

import re
import shutil

import pytest

from tests.commands import REPOSITORY
from tests.run_scripts.iwslt_archives import DE_EN_SETS, FR_EN_SETS, make_archive, make_pairs
from tests.run_scripts.iwslt_recipe import SMALL, recipe


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """IWSLT's two archives, small."""
    folder, pairs = tmp_path_factory.mktemp("archives"), make_pairs(240)
    return {
        "de": make_archive(folder / "de-en.tgz", "de", DE_EN_SETS, pairs),
        # Its recipe has no rules of any language, so German stands for French.
        "fr": make_archive(folder / "fr-en.zip", "fr", FR_EN_SETS, pairs),
    }


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """The two recipes beside their settings, which leave out most of the translations."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPOSITORY / "run_scripts", folder / "run_scripts")
    (folder / "examples").mkdir()
    for name in ("iwslt14_de_en", "iwslt17_fr_en"):
        text = (REPOSITORY / "examples" / f"{name}.yaml").read_text()
        text = re.sub("length_penalties: .*", "length_penalties: []", text)
        text = re.sub("    test[1-4]: .*\n", "", text)
        (folder / "examples" / f"{name}.yaml").write_text(text)
    return {name: folder / "run_scripts" / f"{name}.sh" for name in ("iwslt14_de_en", "iwslt17_fr_en")}


@pytest.fixture(scope="session")
def de_en_script(scripts):
    return scripts["iwslt14_de_en"]


@pytest.fixture(scope="session")
def de_en(de_en_script, archives, tmp_path_factory):
    """The German-English recipe run to its end: (output folder, what it printed)."""
    output = tmp_path_factory.mktemp("recipe") / "de-en"
    loss = ["--loss", "el_ls"]
    return output, recipe(de_en_script, output, archives["de"], *loss, "--", *SMALL, "--max-update", "20")
