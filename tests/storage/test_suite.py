"""The conformance suite as a package."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import pytest

from fullresult import testing

MODULES = [part.name for part in iter_modules(testing.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_a_failed_assertion_of_the_suite_shows_its_values(name: str) -> None:
    """As in a test module of one's own: pytest has rewritten the assertions."""
    module = import_module(f"fullresult.testing.{name}")

    assert type(module.__loader__).__name__ == "AssertionRewritingHook"
