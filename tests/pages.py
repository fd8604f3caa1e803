"""The fenced blocks of the README and the documentation.

An HTML comment above a fence says what is special: ``needs: PACKAGE`` that a snippet is skipped where that is
missing, ``not run: why`` that the block is left alone.
"""

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
FENCE = re.compile(r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """Where a block stands, the comment above it, and what is in it."""

    page: str
    line: int
    note: str
    language: str
    text: str


def blocks(language):
    """All blocks of ``language`` but those that say that they are not run."""
    blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text[: match.start("language")].count("\n") + 1
            blocks.append(Block(page.name, line, match["note"] or "", match["language"], match["text"]))
    return [block for block in blocks if block.language == language and not block.note.startswith("not run")]


def commands():
    """(command, where it stands) for each command of the bash blocks, continuation lines joined."""
    for block in blocks("bash"):
        for line in re.sub(r" *(#.*)?\\\n *", " ", block.text).splitlines():
            if command := re.sub(r"(^| +)#.*", "", line):
                yield command, f"{block.page}:{block.line}"
