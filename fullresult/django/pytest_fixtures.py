"""Fixtures for pytest-django: `pytest_plugins = ["fullresult.django.pytest_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fullresult.django.captured_calls import CapturedTasks


@pytest.fixture(name="captured_tasks")
def _captured_tasks() -> Iterator[CapturedTasks]:
    """What the test publishes: it is not sent."""
    from fullresult.django.captured import captured_tasks  # Django may not be set up yet

    with captured_tasks() as tasks:
        yield tasks
