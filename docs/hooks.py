"""What mkdocs does beside rendering these pages: formulas as MathML, and pages that lie outside ``docs``."""

from __future__ import annotations

import html
import logging
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

logger = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).parents[1]
# Linked as on GitHub, by ../; in the site they lie beside these pages.
OUTSIDE = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benchmarks/protocol.md",
    "benchmarks/results",
    "examples",
)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
# The character is raised already; a superscript would raise it twice.
PRIME = re.compile("<msup>(<mi>.</mi>)<mi>(&#x02032;)</mi></msup>")
# What the docstrings' conversion should have left nothing of.
RST = re.compile(r":(?:func|class|meth|mod|data|attr|ref):|\.\. math::")


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside ``docs``, each under its path in the repository."""
    for name in OUTSIDE:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                added = File.generated(config, str(file.relative_to(ROOT)), abs_src_path=str(file))
                files.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between these pages and the repository's, of which both lie side by side in the site."""
    if "/" in page.file.src_uri:
        return markdown.replace("](../../docs/", "](../../")
    return re.sub(r"\]\((\.\./|docs/)", "](", markdown)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Formulas, which arithmatex has marked, as MathML, which browsers render by themselves."""

    def mathml(match: re.Match[str]) -> str:
        block = match[2] == "["
        formula = convert(html.unescape(match[3]).strip(), display="block" if block else "inline")
        formula = PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>', formula)
        return f'<div class="formula">{formula}</div>' if block else formula

    if left := RST.search(content):
        logger.warning(f"{page.file.src_uri} shows reStructuredText: {left[0]}")
    return FORMULA.sub(mathml, content)
