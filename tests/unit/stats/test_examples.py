"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["exact", "multiplicity"])
def test_examples_run(module: str) -> None:
    failed, tried = doctest.testmod(import_module(f"stillwatch.stats.{module}"))
    assert (failed, tried > 0) == (0, True)
