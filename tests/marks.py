"""Marks of parametrized cases."""

from typing import Any

import pytest


def long(*values: Any) -> list[Any]:
    """The cases ``values`` of one parameter, which only ``make test-long`` runs."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]
