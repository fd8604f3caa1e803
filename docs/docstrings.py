"""The docstrings' reStructuredText for mkdocstrings, which takes Markdown."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
MATH = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +.*| *$))*)", re.MULTILINE)
TABLE = re.compile(r"^( *)(=+(?: +=+)+)\n(.*\n)*?\1\2\n(.*\n)*?\1\2$", re.MULTILINE)

# What is returned, whose first words would be read as a type.
RETURNS = re.compile(r"^( *Returns:\n +[^\n:]*\)): ", re.MULTILINE)
# A list of arguments, described together, that takes two lines.
NAMES = re.compile(r"^( +(?:\w+, )*\w+,)\n +(?=(?:\w+, )*\w+: )", re.MULTILINE)


class Docstrings(Extension):
    """Rewrites each docstring as its object is read."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Roles as code, formulas between dollars, simple tables as they stand, arguments by name in a line.

    >>> markdown("as :func:`~el_plugins.losses.encouraging_loss`")
    'as `encouraging_loss`'
    """
    text = MATH.sub(lambda match: formula(match[1], match[2]), text)
    text = TABLE.sub(lambda match: "\n".join([f"{match[1]}```text", match[0], f"{match[1]}```"]), text)
    text = RETURNS.sub(r"\1, ", text)
    text = NAMES.sub(r"\1 ", text)
    return ROLE.sub(r"`\1`", text)


def formula(indent: str, body: str) -> str:
    """A display formula at ``indent``."""
    return f"{indent}$$\n{indent}{' '.join(body.split())}\n{indent}$$\n"
