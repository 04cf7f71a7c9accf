"""The numbers printed in docstrings."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import analysis

MODULES = sorted(path.stem for path in Path(analysis.__path__[0]).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    """Broken: a docstring shows a number that the function does not give."""
    assert doctest.testmod(importlib.import_module(f"analysis.{name}")).failed == 0
